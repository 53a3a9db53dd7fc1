package api

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// A connection that the API has no room for gets an answer like all others, even if
// it sends much more than is read, and there is room again when another one ends.
func TestAPIConnectionLimit(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.limit = 2 })
	const get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	kept := []net.Conn{s.raw(), s.raw()}
	for _, c := range kept {
		io.WriteString(c, get)
		if got := readAnswer(t, c); got.status != 200 {
			t.Fatalf("there is room: %v", got)
		}
	}
	silent := s.raw() // is not answered, and holds up nobody
	for name, request := range map[string]string{
		"get":       get,
		"half":      "GET /heal",
		"long body": "POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1e6),
	} {
		c := s.raw()
		io.WriteString(c, request)
		got := readAnswer(t, c)
		if got.status != 503 || got.errorCode() != "too_many_connections" || got.header.Get("Content-Type") != "application/json" ||
			got.header.Get("Retry-After") == "" || !got.last {
			t.Errorf("%s: got %v %v", name, got, got.header)
		}
	}
	if got := s.call("POST", "/v1/broadcast", "x"); got.status != 503 || got.errorCode() != "too_many_connections" {
		t.Errorf("net/http's client: got %v", got)
	}
	if n := s.api.figures().Limited["api_connections"]; n != 5 {
		t.Errorf("%d are counted, want 5", n)
	}
	kept[0].Close()
	for deadline := time.Now().Add(patience); s.call("GET", "/healthz", "").status != 200; {
		if time.Now().After(deadline) {
			t.Fatal("a connection has ended, and there is no room for another one")
		}
	}
	if b, err := io.ReadAll(silent); err != nil || len(b) > 0 {
		t.Errorf("silent: got %q, %v", b, err)
	}
}

// So many at a time are told why they are turned away, and no more.
func TestAPIRefusalsAreBounded(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, func(a *API) {
		a.limit = 0
		for range maxRejections - 1 {
			there, here := net.Pipe()
			t.Cleanup(func() { there.Close() })
			a.rejected[&conn{Conn: here}] = struct{}{}
		}
	})
	s.raw() // is waited for
	c := s.raw()
	io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if b, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) || len(b) > 0 { // a reset is all right
		t.Errorf("got %q, %v", b, err)
	}
	began := time.Now()
	s.api.Shutdown()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("took %v", took)
	}
}
