package acme

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// pebbleModule is Let's Encrypt's authority for tests. It is built from the module proxy, so
// that go.mod does not have it.
const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3"

// patience bounds what a test waits for. It passes only if something is broken.
const patience = 60 * time.Second

var (
	binaries string // directory of pebble; TestMain removes it

	buildPebble = sync.OnceValues(func() (string, error) {
		cmd := exec.Command("go", "install", pebbleModule)
		cmd.Env = append(os.Environ(), "GOBIN="+binaries, "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return filepath.Join(binaries, "pebble"), nil
	})
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fanfare-acme")
	if err != nil {
		panic(err)
	}
	binaries = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// authority is a running pebble.
type authority struct {
	directory string
	roots     *x509.CertPool // of its own server
	stop      func()
}

// startPebble starts an authority that verifies domains, which all resolve to this machine,
// at these ports.
func startPebble(t *testing.T, tlsPort, httpPort int) *authority {
	t.Helper()
	program, err := buildPebble()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a := &authority{roots: x509.NewCertPool()}
	listen := freeAddr(t)
	cert := serverCertificate(t, dir, a.roots)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "certificate": cert, "privateKey": cert, "tlsPort": tlsPort, "httpPort": httpPort,
		"profiles": map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": 7776000}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "-config", file, "-dnsserver", startDNS(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("pebble: %s", &log)
		}
	})
	t.Cleanup(a.stop)
	a.directory = "https://" + listen + "/dir"
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.roots}, DisableKeepAlives: true}}
	await(t, "pebble answers", func() bool {
		resp, err := client.Get(a.directory)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	return a
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// freeAddr returns an address on which nothing listens. Its port is below those that the
// system gives to connections and to listeners at port 0.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.IntN(20_000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("found no free port")
	return ""
}

func portOf(addr string) int {
	tcp, _ := net.ResolveTCPAddr("tcp", addr)
	return tcp.Port
}

// serverCertificate writes a certificate of this machine and its key into one file.
func serverCertificate(t *testing.T, dir string, trusted *x509.CertPool) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	trusted.AppendCertsFromPEM(cert)
	file := filepath.Join(dir, "server.pem")
	if err := os.WriteFile(file, append(cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startDNS answers each question for an address, over TCP, with 127.0.0.1.
func startDNS(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				for answerDNS(nc) == nil {
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// answerDNS answers one question; the length of a message precedes it.
func answerDNS(nc net.Conn) error {
	var length [2]byte
	if _, err := io.ReadFull(nc, length[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(nc, question); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return errors.New("not a question")
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = nc.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}
