package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// selfSigned returns a configuration with a new certificate of that serial number.
func selfSigned(t *testing.T, serial int64) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"api.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// ask sends a request on a connection and returns the answer up to the end of the connection.
func askOn(t *testing.T, nc net.Conn, request string) string {
	t.Helper()
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(nc)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// TestTLSHello: a client that speaks TLS to the API without it does not wait for an answer in
// vain, and is counted.
func TestTLSHello(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	for range 3 {
		_, err := tls.Dial("tcp", s.api.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if !errors.As(err, new(tls.RecordHeaderError)) {
			t.Errorf("got %v", err)
		}
	}
	nc, err := net.Dial("tcp", s.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := askOn(t, nc, "\x16\x03\x01\x00\x05hello"); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "a TLS handshake arrived at the API, which is without TLS") {
		t.Errorf("got %q", got)
	}
	if text := s.call("GET", "/metrics", "").body; !strings.Contains(text, `fanfare_api_requests_total{method="other",route="other",status="400"} 4`) {
		t.Errorf("4 requests are not counted: %s", text)
	}
}

func TestTLS(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{TLS: selfSigned(t, 1)}, nil)
	dial := func() *tls.Conn {
		t.Helper()
		nc, err := tls.Dial("tcp", s.api.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	old := dial()
	if state := old.ConnectionState(); state.NegotiatedProtocol != "http/1.1" || state.PeerCertificates[0].SerialNumber.Int64() != 1 {
		t.Errorf("the protocol is %q, the serial number %v", state.NegotiatedProtocol, state.PeerCertificates[0].SerialNumber)
	}
	if err := s.api.SetTLS(selfSigned(t, 2)); err != nil {
		t.Fatal(err)
	}
	if n := dial().ConnectionState().PeerCertificates[0].SerialNumber.Int64(); n != 2 {
		t.Errorf("after SetTLS the serial number is %d", n)
	}
	if err := s.api.SetTLS(new(tls.Config)); err == nil || !strings.Contains(err.Error(), "TLS has no certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	const closing = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	if got := askOn(t, old, "GET /healthz "+closing+"\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("on the old connection: %s", got)
	}
	// An answer to a request whose body is not read arrives: the connection lingers.
	if got := askOn(t, dial(), "POST /v1/nothing "+closing+"Content-Length: 200000\r\n\r\n"+strings.Repeat("x", 200_000)); !strings.HasPrefix(got, "HTTP/1.1 404") {
		t.Errorf("with a body: %s", got)
	}
	plain, err := net.Dial("tcp", s.api.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if got := askOn(t, plain, "GET /healthz "+closing+"\r\n"); !strings.HasPrefix(got, "HTTP/1.0 400") || !strings.HasSuffix(got, "client sent an HTTP request to an HTTPS server\n") {
		t.Errorf("without TLS: %s", got)
	}
	if f := s.api.figures().API; f.TLSHandshakes < 2 || f.TLSFailed != 1 {
		t.Errorf("%d handshakes, %d failed", f.TLSHandshakes, f.TLSFailed)
	}
}

func TestTLSConfig(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	if err := s.api.SetTLS(selfSigned(t, 1)); !errors.Is(err, ErrNoTLS) {
		t.Errorf("an API without TLS: %v", err)
	}
	for _, cfg := range []Config{
		{Listen: "127.0.0.1:0", TLS: new(tls.Config)},
		{Listen: "unix:/tmp/api", TLS: selfSigned(t, 1)},
	} {
		var named interface{ Field() string }
		if err := cfg.Validate(); !errors.As(err, &named) || named.Field() != "TLS" {
			t.Errorf("%s: %v", cfg.Listen, err)
		}
	}
}

// A PROXY protocol header precedes TLS, and is required from the networks that are named.
func TestProxyProtocol(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, cfg := range []Config{{ProxyProtocol: loopback}, {ProxyProtocol: loopback, TLS: selfSigned(t, 1)}} {
		s := newAPIServer(t, server.Config{}, cfg, nil)
		for _, header := range []string{"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", ""} {
			nc, err := net.Dial("tcp", s.api.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(patience))
			io.WriteString(nc, header)
			if cfg.TLS != nil {
				nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
			}
			io.WriteString(nc, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			answer, _ := io.ReadAll(nc)
			if served := strings.HasPrefix(string(answer), "HTTP/1.1 200"); served != (header != "") {
				t.Errorf("TLS %t, header %q: %q", cfg.TLS != nil, header, answer)
			}
		}
		if n := s.api.figures().API.ProxyErrors; n != 1 {
			t.Errorf("%d headers are counted as wrong, want 1", n)
		}
	}
}
