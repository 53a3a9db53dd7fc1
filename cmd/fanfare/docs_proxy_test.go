package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// proxySite is the host in the configurations.
const proxySite = "app.example.com"

// proxy is how to run a configuration of the documents: the configuration goes into a
// file in which paths and addresses are replaced, with what surrounds it.
type proxy struct {
	name          string // of the program, and of the block's language
	lang          string
	before, after string // "DIR" is the directory of the test
	replace       []string
	args          []string // after which the file's name comes
	block         int      // which of the language's blocks it is
}

var proxies = []proxy{
	{
		name: "nginx", lang: "nginx", args: []string{"-p", "DIR", "-c"},
		before: "daemon off; pid DIR/pid; error_log stderr;\nevents { worker_connections 64; }\nhttp {\naccess_log off; client_body_temp_path DIR/a; " +
			"proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;\n",
		after: "}\n",
		replace: []string{"listen 443 ssl", "listen 127.0.0.1:PORT ssl",
			"/etc/ssl/app.example.com.pem", "DIR/site.pem", "/etc/ssl/app.example.com.key", "DIR/site.pem"},
	},
	{
		name: "haproxy", lang: "haproxy", args: []string{"-db", "-f"},
		replace: []string{"bind :443", "bind 127.0.0.1:PORT", "/etc/haproxy/app.example.com.pem", "DIR/site.pem"},
	},
	{
		name: "caddy", lang: "caddyfile", args: []string{"run", "--adapter", "caddyfile", "--config"},
		before:  "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n",
		replace: []string{"app.example.com {", "https://app.example.com:PORT {\n\tbind 127.0.0.1\n\ttls DIR/site.pem DIR/site.pem"},
	},
}

// TestDocsProxies runs the proxies with their configurations: clients connect through
// TLS from a page of the same site, their addresses are known to the server, pushes
// arrive, and pings and pongs pass unchanged.
func TestDocsProxies(t *testing.T) {
	withoutRace(t)
	for _, px := range proxies {
		t.Run(px.name, func(t *testing.T) {
			program, err := exec.LookPath(px.name)
			if err != nil {
				t.Skipf("the configuration for %s is not tried, it is not installed", px.name)
			}
			p := startServer(t, nil, "--data-dir="+t.TempDir(), "--trusted-proxy=127.0.0.1", "--connections-per-ip=1")
			site := px.start(t, program, p)

			bob := site.connect(t, "127.0.0.2", "bob")
			if _, err := site.dial(t, "127.0.0.2", "carol"); !rejectedWith(err, http.StatusTooManyRequests) {
				t.Errorf("a second connection of the same client: %v, want 429", err)
			}
			alice := site.connect(t, "127.0.0.3", "alice")
			post(t, "http://"+p.api+"/v1/users/alice/push", "application/json", `{"hello":"world"}`)
			if msg, _ := receive(t, alice); msg != `{"hello":"world"}` {
				t.Errorf("alice received %s", msg)
			}

			post(t, "http://"+p.api+"/v1/users/bob/push?durable=true&id=1", "application/json", `{"order":7}`)
			if f := mustReadFrame(t, bob); f.Header.OpCode != ws.OpText || string(f.Payload) != `{"order":7}` {
				t.Fatalf("bob received %v %s", f.Header, f.Payload)
			}
			ping := mustReadFrame(t, bob)
			if ping.Header.OpCode != ws.OpPing || len(ping.Payload) == 0 {
				t.Fatalf("a %v follows the durable message, want a ping with a payload", ping.Header)
			}
			site.streams(t, p, "127.0.0.5", "erin", px.name == "haproxy")
			// Were the ping answered by the proxy, the answer would arrive before that to
			// the next request through it.
			site.connect(t, "127.0.0.4", "dave")
			if acked(t, p, "bob") {
				t.Error("the message counts as read before the client has answered")
			}
			if err := ws.WriteFrame(bob, ws.MaskFrame(ws.NewPongFrame(ping.Payload))); err != nil {
				t.Fatal(err)
			}
			for wait := bound; !acked(t, p, "bob"); wait -= pollEvery {
				if wait <= 0 {
					t.Fatal("the client's answer does not arrive")
				}
				time.Sleep(pollEvery)
			}
		})
	}
}

func mustReadFrame(t *testing.T, c net.Conn) ws.Frame {
	t.Helper()
	f, err := readFrame(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func rejectedWith(err error, status int) bool {
	var s ws.StatusError
	return errors.As(err, &s) && int(s) == status
}

// acked reports whether a user has acknowledged anything.
func acked(t *testing.T, p *process, user string) bool {
	t.Helper()
	var inbox struct{ Acked int }
	if err := json.Unmarshal(get(t, "http://"+p.api+"/v1/users/"+user+"/inbox"), &inbox); err != nil {
		t.Fatal(err)
	}
	return inbox.Acked > 0
}

// site is a proxy that runs.
type site struct{ addr string }

func (px *proxy) start(t *testing.T, program string, p *process) site {
	t.Helper()
	found := docBlocks(t, flagsDocument, px.lang)
	if len(found) <= px.block {
		t.Fatalf("%s has %d configurations for %s", flagsDocument, len(found), px.name)
	}
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	certificate(t, filepath.Join(dir, "site.pem"))
	addresses := []string{"127.0.0.1:8080", p.public, "port 8081", "port " + p.api[strings.LastIndex(p.api, ":")+1:]}
	text := strings.NewReplacer(append(px.replace, addresses...)...).Replace(found[px.block].text)
	text = strings.NewReplacer("PORT", port, "DIR", dir).Replace(px.before + text + px.after)
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{}
	for _, a := range px.args {
		args = append(args, strings.ReplaceAll(a, "DIR", dir))
	}
	cmd := exec.Command(program, append(args, file)...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its workers
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s\n%s", text, &log)
		}
	})
	s := site{"127.0.0.1:" + port}
	for wait := bound; wait > 0; wait -= pollEvery {
		if reachable(s.addr) {
			return s
		}
		time.Sleep(pollEvery)
	}
	t.Fatalf("%s does not listen", px.name)
	return s
}

// dial opens a WebSocket from a page of the site.
func (s site) dial(t *testing.T, from, user string) (net.Conn, error) {
	host := net.JoinHostPort(proxySite, s.addr[strings.LastIndex(s.addr, ":")+1:])
	d := ws.Dialer{
		TLSConfig: &tls.Config{InsecureSkipVerify: true, ServerName: proxySite},
		Header:    ws.HandshakeHeaderHTTP{"Origin": {"https://" + host}},
		NetDial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, network, s.addr)
		},
	}
	c, buffered, _, err := d.Dial(t.Context(), "wss://"+host+"/ws?user="+user)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	if buffered != nil {
		t.Fatal("bytes arrived with the handshake's answer")
	}
	c.SetDeadline(time.Now().Add(bound))
	return c, nil
}

func (s site) connect(t *testing.T, from, user string) net.Conn {
	t.Helper()
	c, err := s.dial(t, from, user)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// streams receives server-sent events from a page of the site: each at once, with a position,
// and the server notices that the client leaves; where the proxy looks only when it
// writes, with the next messages.
func (s site) streams(t *testing.T, p *process, from, user string, noticesWrites bool) {
	t.Helper()
	host := net.JoinHostPort(proxySite, s.addr[strings.LastIndex(s.addr, ":")+1:])
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: proxySite},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, network, s.addr)
		},
	}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodGet, "https://"+host+"/sse?user="+user, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://"+host)
	r.Header.Set("Accept-Encoding", "gzip") // a proxy that compresses would buffer
	resp, err := (&http.Client{Transport: tr, Timeout: bound}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		text := fmt.Sprintf("message %d", i)
		post(t, "http://"+p.api+"/v1/users/"+user+"/push?durable=true", "text/plain", text)
		for lines.Scan() && lines.Text() != "data: "+text {
		}
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), "id: ") {
			t.Fatalf("message %d did not come with an id: %q, %v", i, lines.Text(), lines.Err())
		}
	}
	resp.Body.Close()
	for wait := bound; strings.Contains(string(get(t, "http://"+p.api+"/v1/users/"+user)), `"online":true`); wait -= pollEvery {
		if wait <= 0 {
			t.Fatal("the session does not end when the client leaves")
		}
		if noticesWrites {
			post(t, "http://"+p.api+"/v1/users/"+user+"/push", "text/plain", "is anybody there?")
		}
		time.Sleep(pollEvery)
	}
}

// certificate writes a certificate for the site, and its key, into one file.
func certificate(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{proxySite}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readFrame reads a frame of a server that the test trusts.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
