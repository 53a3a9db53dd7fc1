package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("authority", true)
	a.file = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) issue(name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true,
	}
	parent, parentKey := a.cert, a.key
	if ca {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// pair writes a certificate and its key, and returns the files.
func (a *authority) pair(file, name string) (cert, key string) {
	a.t.Helper()
	c, k := a.issue(name, false)
	return a.pairOf(file, c, k)
}

// pairOf writes a certificate and its key.
func (a *authority) pairOf(file string, c *x509.Certificate, k *ecdsa.PrivateKey) (cert, key string) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(file+".crt", "CERTIFICATE", c.Raw), a.write(file+".key", "PRIVATE KEY", der)
}

// client returns a configuration that trusts the authority.
func (a *authority) client(serverName string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, ServerName: serverName}
}

// session opens a session over TLS, and returns the name in the server's certificate.
func session(t *testing.T, addr string, cfg *tls.Config) (nc *tls.Conn, name string) {
	t.Helper()
	nc, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(bound))
	u := ws.Dialer{}
	target, err := neturl.Parse("ws://" + addr + "/echo")
	if err != nil {
		t.Fatal(err)
	}
	if br, _, err := u.Upgrade(nc, target); err != nil || br != nil {
		t.Fatalf("handshake: %v, %v", br, err)
	}
	return nc, nc.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func echo(t *testing.T, nc net.Conn, text string) {
	t.Helper()
	if err := wsutil.WriteClientText(nc, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if got, err := wsutil.ReadServerText(nc); string(got) != text || err != nil {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

func TestTLSServer(t *testing.T) {
	t.Parallel() // waits until the files are read again
	a := newAuthority(t)
	certA, keyA := a.pair("a", "a.test")
	certB, keyB := a.pair("b", "b.test")
	p := startServer(t, nil, "--tls-cert="+certA, "--tls-key="+keyA, "--tls-cert="+certB, "--tls-key="+keyB)
	if !strings.HasPrefix(p.serving["listen"].(string), "https://") || !strings.HasPrefix(p.serving["console"].(string), "https://") {
		t.Errorf("%v", p.serving)
	}
	var sessions []net.Conn
	for _, want := range []string{"a.test", "b.test"} {
		nc, name := session(t, p.public, a.client(want))
		if name != want {
			t.Errorf("%s has the certificate of %s", want, name)
		}
		echo(t, nc, "hello")
		sessions = append(sessions, nc)
	}
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: a.client("a.test")}}
	defer h.CloseIdleConnections()
	resp, err := h.Get("https://" + p.public + "/")
	if err != nil {
		t.Fatal(err)
	}
	if page, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.Contains(string(page), "<title>") || err != nil {
		t.Errorf("the console: %d, %d bytes, %v", resp.StatusCode, len(page), err)
	}
	resp.Body.Close()
	// SIGHUP changes nothing if the files have not changed, and session tickets stay valid.
	p.signal(syscall.SIGHUP)
	if line := p.waitLog("reloaded"); fmt.Sprint(line["changed"]) != "[]" {
		t.Errorf("%v", line)
	}
	// The files are replaced: the new certificate is used, and sessions go on.
	a.pair("a", "renewed.test")
	if line := p.waitLog("TLS certificate reloaded"); line["file"] != certA {
		t.Errorf("%v", line)
	}
	if _, name := session(t, p.public, a.client("renewed.test")); name != "renewed.test" {
		t.Errorf("after the files have changed: %s", name)
	}
	for _, nc := range sessions {
		echo(t, nc, "still there")
	}
}

// SIGHUP puts other TLS flags of the config file into force, and reports that TLS itself
// cannot be switched off.
func TestTLSReload(t *testing.T) {
	a := newAuthority(t)
	certA, keyA := a.pair("a", "a.test")
	certB, keyB := a.pair("b", "b.test")
	file := filepath.Join(t.TempDir(), "config.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf(`{"tls-cert": [%q], "tls-key": [%q]}`, certA, keyA))
	p := startServer(t, nil, "--config="+file)
	old, _ := session(t, p.public, a.client("a.test"))
	write(fmt.Sprintf(`{"tls-cert": [%q], "tls-key": [%q], "tls-min": "1.3"}`, certB, keyB))
	p.signal(syscall.SIGHUP)
	if line := p.waitLog("reloaded"); fmt.Sprint(line["changed"]) != "[tls-cert tls-key tls-min]" {
		t.Errorf("%v", line)
	}
	if _, name := session(t, p.public, a.client("b.test")); name != "b.test" {
		t.Errorf("the certificate is that of %s", name)
	}
	cfg := a.client("b.test")
	cfg.MaxVersion = tls.VersionTLS12
	if _, err := tls.Dial("tcp", p.public, cfg); err == nil {
		t.Error("TLS 1.2 is accepted")
	}
	echo(t, old, "still there")
	write("{}")
	p.signal(syscall.SIGHUP)
	if line := p.waitLog("flag needs a restart, the old value stays"); line["flag"] != "--tls-cert" {
		t.Errorf("%v", line)
	}
	p.waitLog("reloaded")
	if _, name := session(t, p.public, a.client("b.test")); name != "b.test" {
		t.Errorf("the certificate is that of %s", name)
	}
}

func TestTLSMinVersion(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.pair("a", "a.test")
	p := startServer(t, nil, "--tls-cert="+cert, "--tls-key="+key, "--tls-min=1.3")
	cfg := a.client("a.test")
	cfg.MaxVersion = tls.VersionTLS12
	if nc, err := tls.Dial("tcp", p.public, cfg); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v, %v", nc, err)
	}
	nc, _ := session(t, p.public, a.client("a.test"))
	echo(t, nc, "hello")
}

func TestTLSClientCA(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.pair("a", "a.test")
	clientCert, clientKey := a.pair("c", "client.test")
	p := startServer(t, nil, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+a.file)
	cfg := a.client("a.test")
	nc, err := tls.Dial("tcp", p.public, cfg)
	if err == nil {
		_, err = nc.Read(make([]byte, 1))
		nc.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	own, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificates = []tls.Certificate{own}
	with, _ := session(t, p.public, cfg)
	echo(t, with, "hello")
}

// curl and openssl connect, too: their TLS is not Go's.
func TestTLSForeignClients(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.pair("a", "localhost")
	p := startServer(t, nil, "--tls-cert="+cert, "--tls-key="+key)
	_, port, _ := net.SplitHostPort(p.public)
	for _, version := range []string{"1.2", "1.3"} {
		t.Run("curl "+version, func(t *testing.T) {
			curl, err := exec.LookPath("curl")
			if err != nil {
				t.Skip("curl is not installed")
			}
			out, err := exec.Command(curl, "-sS", "--max-time", "20", "--tlsv"+version, "--tls-max", version, "--cacert", a.file,
				"--resolve", "localhost:"+port+":127.0.0.1", "https://localhost:"+port+"/").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "<title>") {
				t.Errorf("%v: %.200s", err, out)
			}
		})
	}
	t.Run("openssl, with key updates", func(t *testing.T) {
		openssl, err := exec.LookPath("openssl")
		if err != nil {
			t.Skip("openssl is not installed")
		}
		cmd := exec.Command(openssl, "s_client", "-connect", p.public, "-CAfile", a.file, "-verify_return_error", "-tls1_3")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = cmd.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		overdue := time.AfterFunc(bound, func() { cmd.Process.Kill() })
		defer overdue.Stop()
		// A line that is K or k alone has s_client update its key, with a request for an
		// update or without one.
		io.WriteString(in, "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		var seen strings.Builder
		buf := make([]byte, 64<<10)
		expect := func(want string) {
			t.Helper()
			for !strings.Contains(seen.String(), want) {
				n, err := out.Read(buf)
				if err != nil {
					t.Fatalf("no %q: %v: %s", want, err, seen.String())
				}
				seen.Write(buf[:n])
			}
		}
		expect("101 Switching Protocols")
		for i, command := range []string{"", "K\n", "k\n", "K\n"} {
			if command != "" {
				seen.Reset()
				io.WriteString(in, command)
				expect("KEYUPDATE") // it takes what follows in the same read for a part of the command
			}
			text := fmt.Sprintf("message %d", i)
			in.Write(ws.MustCompileFrame(ws.MaskFrameWith(ws.NewTextFrame([]byte(text)), [4]byte{1, 1, 1, 1})))
			expect(text)
		}
	})
}

// A renegotiation, which TLS 1.2 knows, ends the connection with an alert.
func TestTLSRenegotiation(t *testing.T) {
	openssl := installed(t, "openssl", "openssl")
	a := newAuthority(t)
	cert, key := a.pair("a", "localhost")
	p := startServer(t, nil, "--tls-cert="+cert, "--tls-key="+key)
	cmd := clientCommand(t, nil, openssl, "s_client", "-connect", p.public, "-CAfile", a.file, "-tls1_2", "-legacy_renegotiation")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "R\n") // stays open: s_client ends because the server does
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "RENEGOTIATING") || !strings.Contains(string(out), " alert ") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTLSFlagErrors(t *testing.T) {
	withoutRace(t)
	a := newAuthority(t)
	certA, keyA := a.pair("a", "a.test")
	_, keyB := a.pair("b", "b.test")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--tls-cert=" + certA}, "want one --tls-key for each --tls-cert: certificates are 1, and keys 0"},
		{[]string{"--tls-cert=" + certA, "--tls-key=" + keyB}, "private key does not match public key"},
		{[]string{"--tls-cert=/nowhere.crt", "--tls-key=" + keyA}, "--tls-cert: open /nowhere.crt: no such file or directory"},
		{[]string{"--tls-cert=" + certA, "--tls-key=" + keyA, "--tls-client-ca=" + keyA}, "--tls-client-ca: " + keyA + " has no certificate in PEM"},
		{[]string{"--tls-client-ca=" + a.file}, "--tls-client-ca has no effect here: it needs --tls-cert or --acme-domain"},
		{[]string{"--tls-cert=" + certA, "--tls-key=" + keyA, "--tls-ocsp=" + keyA}, "--tls-ocsp: " + keyA + " cannot be checked"},
		{[]string{"--tls-ocsp=" + keyA}, "--tls-ocsp has no effect here: it needs --tls-cert"},
		{[]string{"--api-tls-shared"}, "--api-tls-shared has no effect here: it needs --tls-cert or --acme-domain"},
		{[]string{"--api-tls-cert=" + certA, "--api-tls-key=" + keyB}, "--api-tls-cert " + certA + " with --api-tls-key " + keyB},
		{[]string{"--api-tls-client-ca=" + a.file}, "--api-tls-client-ca has no effect here: it needs --api-tls-cert or --api-tls-shared"},
		{[]string{"--tls-cert=" + certA, "--tls-key=" + keyA, "--api-tls-shared", "--api-tls-cert=" + certA, "--api-tls-key=" + keyA}, "--api-tls-shared and --api-tls-cert are both given"},
		{[]string{"--api=unix:" + a.dir + "/api", "--api-tls-cert=" + certA, "--api-tls-key=" + keyA}, "a Unix socket is served without TLS"},
		{[]string{"--acme-domain=a.test"}, "--acme-domain needs a place for private keys: give --data-dir, or --nats"},
		{[]string{"--acme-domain=a.test", "--data-dir=" + a.dir}, "--acme-agree is false"},
		{[]string{"--acme-domain=*.test", "--data-dir=" + a.dir, "--acme-agree"}, `--acme-domain has the wildcard "*.test"`},
		{[]string{"--acme-domain=a.test", "--tls-cert=" + certA, "--tls-key=" + keyA}, "--acme-domain and --tls-cert are both given"},
		{[]string{"--acme-agree"}, "--acme-agree has no effect here: it needs --acme-domain"},
		{[]string{"--acme-domain=a.test", "--data-dir=" + a.dir, "--acme-agree", "--acme-ca=http://a.test"}, `--acme-ca is "http://a.test": want the https:// URL of a directory`},
		{[]string{"--acme-domain=a.test", "--data-dir=" + a.dir, "--acme-agree", "--acme-ca-root=" + keyA}, "--acme-ca-root: " + keyA + " has no certificate in PEM"},
		{[]string{"--tls-min=1.1"}, `--tls-min must be one of "1.2","1.3"`},
	} {
		r := runProgram(t, "", nil, append([]string{"serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--data-dir=none"}, tt.args...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("%v: code %d, %s, want %s", tt.args, r.code, r.stderr, tt.want)
		}
	}
}
