package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"

	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
)

const domain = "app.example.test"

// node is a server whose certificates a Manager obtains.
type node struct {
	*Manager
	srv *server.Server
	log *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// startNode opens the listener; begin starts the Manager, for an authority that knows its port.
func startNode(t *testing.T, listen string, cfg Config) *node {
	t.Helper()
	n := &node{log: new(logBuffer)}
	cfg.Domains, cfg.Agreed = []string{domain}, true
	cfg.Logger = slog.New(slog.NewTextHandler(n.log, nil))
	var err error
	if n.Manager, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	n.srv, err = server.New(server.Config{Listen: listen, TLS: server.NewTLS(n.TLS(&tls.Config{MinVersion: tls.VersionTLS12})), Logger: cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n.srv.Shutdown(ctx)
		if t.Failed() {
			t.Logf("%s", &n.log.b)
		}
	})
	if err := n.srv.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) begin(t *testing.T) {
	t.Helper()
	if err := n.Start(n.srv.Addr()); err != nil {
		t.Fatal(err)
	}
}

// serial returns the serial number of the certificate in use; empty if there is none.
func (n *node) serial() string {
	nc, err := tls.Dial("tcp", n.srv.Addr().String(), &tls.Config{ServerName: domain, InsecureSkipVerify: true})
	if err != nil {
		return ""
	}
	defer nc.Close()
	cert := nc.ConnectionState().PeerCertificates[0]
	if cert.VerifyHostname(domain) != nil {
		return ""
	}
	return cert.SerialNumber.String()
}

func (n *node) awaitSerial(t *testing.T) (serial string) {
	t.Helper()
	await(t, "a certificate", func() bool { serial = n.serial(); return serial != "" })
	return serial
}

// A certificate is obtained by TLS-ALPN-01 on the listener itself, renewed while a session is
// open, stored for its owner only, and used by the next start although the authority is away.
func TestTLSALPN01(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "acme")
	listen := freeAddr(t)
	a := startPebble(t, portOf(listen), 1)
	quick := Config{CA: a.directory, Roots: a.roots, Dir: dir, renewalRatio: 1 - 2e-7, renewalCheck: 500 * time.Millisecond} // 90 days × 2e-7 is 1.6 s
	n := startNode(t, listen, quick)
	if n.serial() != "" {
		t.Error("there is a certificate before Start")
	}
	n.begin(t)
	first := n.awaitSerial(t)
	await(t, "the log says so", func() bool { return n.log.has(`"ACME certificate obtained" name=` + domain + " renewal=false") })

	raw, err := tls.Dial("tcp", n.srv.Addr().String(), &tls.Config{ServerName: domain, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, _, err := (ws.Dialer{}).Upgrade(raw, &url.URL{Scheme: "wss", Host: domain, Path: "/echo"}); err == nil {
		t.Error("a Host that is not local is served") // on loopback, without authentication
	}
	nc, err := tls.Dial("tcp", n.srv.Addr().String(), &tls.Config{ServerName: domain, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, _, err := (ws.Dialer{}).Upgrade(nc, &url.URL{Scheme: "wss", Host: "localhost", Path: "/echo"}); err != nil {
		t.Fatal(err)
	}
	await(t, "the renewed certificate is in use", func() bool { s := n.serial(); return s != "" && s != first })
	if err := wsutil.WriteClientText(nc, []byte("still there")); err != nil {
		t.Fatal(err)
	}
	if got, err := wsutil.ReadServerText(nc); string(got) != "still there" || err != nil {
		t.Errorf("the session received %q, %v", got, err)
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, walkErr error) error {
		if walkErr != nil {
			return walkErr
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	})
	if files < 5 || err != nil {
		t.Errorf("%d files, %v", files, err)
	}

	a.stop()
	again := startNode(t, "127.0.0.1:0", Config{CA: a.directory, Roots: a.roots, Dir: dir})
	again.begin(t)
	again.awaitSerial(t)
	await(t, "the next start uses the same", func() bool { return again.serial() == n.serial() })
}

// An authority that is away is logged, and does not keep the server from starting.
func TestAuthorityAway(t *testing.T) {
	n := startNode(t, "127.0.0.1:0", Config{CA: "https://" + freeAddr(t) + "/dir", Dir: t.TempDir()})
	n.begin(t)
	await(t, "the log says so", func() bool { return n.log.has("ACME certificate not obtained, the authority is asked again") })
	if n.serial() != "" {
		t.Error("there is a certificate")
	}
}

// With Config.HTTP the authority may verify the domain at port 80.
func TestHTTP01(t *testing.T) {
	addr := freeAddr(t)
	a := startPebble(t, 1, portOf(addr)) // nothing listens at port 1
	n := startNode(t, "127.0.0.1:0", Config{CA: a.directory, Roots: a.roots, Dir: t.TempDir(), HTTP: addr})
	n.begin(t)
	n.awaitSerial(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/page?x=1")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if to := resp.Header.Get("Location"); resp.StatusCode != 301 || to != "https://127.0.0.1/page?x=1" {
		t.Errorf("%d to %q", resp.StatusCode, to)
	}
	if resp, err = client.Post("http://"+addr+"/", "text/plain", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

// Nodes that share a NATS share the certificate.
func TestSharedCertificate(t *testing.T) {
	nats := startNATS(t)
	listen := freeAddr(t)
	a := startPebble(t, portOf(listen), 1)
	first := startNode(t, listen, Config{CA: a.directory, Roots: a.roots, NATS: &NATS{URL: nats}})
	first.begin(t)
	want := first.awaitSerial(t)
	a.stop() // the second one could not obtain another
	second := startNode(t, "127.0.0.1:0", Config{CA: a.directory, Roots: a.roots, NATS: &NATS{URL: nats}})
	second.begin(t)
	if got := second.awaitSerial(t); got != want {
		t.Errorf("the second node uses %s, want %s", got, want)
	}
}

func TestValidate(t *testing.T) {
	good := Config{Domains: []string{domain}, Agreed: true, Dir: "/tmp/x"}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		field  string // empty: it is valid
	}{
		{"good", func(*Config) {}, ""},
		{"no domain", func(c *Config) { c.Domains = nil }, "Domains"},
		{"wildcard", func(c *Config) { c.Domains = []string{"*.example.test"} }, "Domains"},
		{"address", func(c *Config) { c.Domains = []string{"127.0.0.1"} }, "Domains"},
		{"upper case", func(c *Config) { c.Domains = []string{"App.example.test"} }, "Domains"},
		{"space", func(c *Config) { c.Domains = []string{"a b"} }, "Domains"},
		{"not agreed", func(c *Config) { c.Agreed = false }, "Agreed"},
		{"plain authority", func(c *Config) { c.CA = "http://ca.test/dir" }, "CA"},
		{"HTTP without a port", func(c *Config) { c.HTTP = "127.0.0.1" }, "HTTP"},
		{"no storage", func(c *Config) { c.Dir = "" }, "Dir"},
		{"two storages", func(c *Config) { c.NATS = &NATS{URL: "nats://a"} }, "Dir"},
		{"NATS", func(c *Config) { c.Dir, c.NATS = "", &NATS{URL: "nats://a"} }, ""},
		{"malformed NATS", func(c *Config) { c.Dir, c.NATS = "", &NATS{URL: "http://a"} }, "URL"},
	} {
		cfg := good
		tt.change(&cfg)
		err := cfg.Validate()
		var named interface{ Field() string }
		if (err == nil) != (tt.field == "") || err != nil && (!errors.As(err, &named) || named.Field() != tt.field) {
			t.Errorf("%s: %v, want an error in %q", tt.name, err, tt.field)
		}
	}
}
