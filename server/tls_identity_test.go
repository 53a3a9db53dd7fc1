package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"fanfare/netpoll"
)

// Requests that are not handshakes work, and know of TLS.
func TestTLSFallback(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		big := strings.Repeat("answer ", 50_000)
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t)), Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || r.TLS.Version != version || r.TLS.ServerName != "server.test" {
				t.Errorf("r.TLS is %+v", r.TLS)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Write(body)
			io.WriteString(w, big)
		})})
		cfg := clientTLS(version)
		cfg.ServerName = "server.test"
		h := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
		defer h.CloseIdleConnections()
		body := strings.Repeat("question ", 20_000)
		resp, err := h.Post("https://"+srv.Addr().String()+"/page", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); string(got) != body+big || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		// At an endpoint, the answer names wss.
		resp, err = h.Get("https://" + srv.Addr().String() + "/ws")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); resp.StatusCode != 426 || !strings.Contains(string(got), "wss://") || err != nil {
			t.Errorf("%d %q, %v", resp.StatusCode, got, err)
		}
		await(t, "the connections are gone", func() bool { return srv.connections.Load() == 0 })
	})
}

// An Identifier sees the certificate of the client, on the read turn and on a goroutine.
func TestTLSClientCertificate(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		ca := issue(t, "ca.test", nil)
		roots := x509.NewCertPool()
		roots.AddCert(ca.Leaf)
		cfg := serverTLS(t)
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, roots
		users := make(chan string, 2)
		identify := func(_ context.Context, r *Request) (Identity, error) {
			user := r.TLS().VerifiedChains[0][0].Subject.CommonName
			users <- user
			return Identity{User: user}, nil
		}
		srv := start(t, Config{Transport: transport, TLS: NewTLS(cfg), Endpoints: []Endpoint{
			{Path: "/now", Identifier: identify, NonBlocking: true}, {Path: "/later", Identifier: identify},
		}})
		client := clientTLS(version)
		client.Certificates = []tls.Certificate{issue(t, "alice", &ca)}
		for _, path := range []string{"/now", "/later"} {
			dialTLS(t, srv, client, path)
			if user := receive(t, "the identifier", users); user != "alice" {
				t.Errorf("the user is %q", user)
			}
		}
		// Without a certificate, and with one of another authority.
		other := issue(t, "other.test", nil)
		for _, certs := range [][]tls.Certificate{nil, {issue(t, "mallory", &other)}} {
			c := connect(t, srv)
			client := clientTLS(version)
			client.Certificates = certs
			tc := tls.Client(c.Conn, client)
			tc.Handshake() // in TLS 1.3 the client learns of it afterwards
			if _, err := tc.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "remote error: tls:") {
				t.Errorf("with %d certificates: %v", len(certs), err)
			}
		}
	})
}

// Sessions are resumed with tickets, until the configuration is replaced.
func TestTLSResumption(t *testing.T) {
	overTLS(t, func(t *testing.T, transport netpoll.Transport, version uint16) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
		cfg := clientTLS(version)
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		resumed := func() bool {
			c := dialTLS(t, srv, cfg, "/echo")
			c.send(Text, "x")
			c.want(Text, "x") // and with it the ticket
			defer c.Close()
			return c.Conn.(*tls.Conn).ConnectionState().DidResume
		}
		if resumed() {
			t.Error("the first handshake is resumed")
		}
		for range 2 {
			if !resumed() {
				t.Error("a handshake is not resumed")
			}
		}
		if transport == netpoll.Goroutine {
			return // its tickets are the same, and SetTLS is tested below
		}
		if err := srv.SetTLS(serverTLS(t)); err != nil {
			t.Fatal(err)
		}
		if resumed() {
			t.Error("a ticket of the old configuration is accepted")
		}
		if !resumed() {
			t.Error("no ticket of the new one is accepted")
		}
	})
}

// SetTLS concerns new connections only.
func TestSetTLS(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, TLS: NewTLS(serverTLS(t))})
		old := dialTLS(t, srv, clientTLS(tls.VersionTLS13), "/echo")
		renewed := issue(t, "renewed.test", nil)
		if err := srv.SetTLS(&tls.Config{Certificates: []tls.Certificate{renewed}}); err != nil {
			t.Fatal(err)
		}
		c := dialTLS(t, srv, clientTLS(tls.VersionTLS13), "/echo")
		if name := c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName; name != "renewed.test" {
			t.Errorf("the certificate is that of %s", name)
		}
		old.send(Text, "still there")
		old.want(Text, "still there")
		if err := srv.SetTLS(&tls.Config{}); err == nil || !strings.Contains(err.Error(), "has no certificate") {
			t.Errorf("SetTLS without a certificate: %v", err)
		}
		if err := start(t, Config{Transport: transport}).SetTLS(serverTLS(t)); err != ErrNoTLS {
			t.Errorf("SetTLS of a server without TLS: %v", err)
		}
	})
}
