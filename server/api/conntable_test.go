package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/internal/limit"
)

const getStats = "GET /v1/stats HTTP/1.1\r\nHost: localhost\r\n"

// busy opens a connection with a request in progress: a batch.
func (s *apiServer) busy() net.Conn {
	s.t.Helper()
	c := s.raw()
	io.WriteString(c, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\n{\"broadcast\":true,\"text\":\"x\"}\n\r\n")
	if n, err := c.Read(make([]byte, 1)); n != 1 {
		s.t.Fatal(err)
	}
	return c
}

// A connection without a place gets an answer like all others, even if it sends much more
// than is read, and there is a place again when another connection ends.
func TestAPIConnectionLimit(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{MaxConnections: 2}, nil)
	open := []net.Conn{s.busy(), s.busy()}
	silent := s.raw() // is not answered, and delays no other connection
	for name, request := range map[string]string{
		"get":       getStats + "\r\n",
		"half":      "GET /v1/st",
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
	if got := s.call("POST", "/v1/broadcast", "x"); got.status != 503 || !strings.Contains(got.body, "all 2 connections of the API have a request in progress") {
		t.Errorf("net/http's client: got %v", got)
	}
	if f := s.api.figures(); f.Limited["api_connections"] != 5 || f.API.Rejected != 5 {
		t.Errorf("%d are counted, want 5", f.API.Rejected)
	}
	open[0].Close()
	for deadline := time.Now().Add(patience); s.call("GET", "/v1/stats", "").status != 200; {
		if time.Now().After(deadline) {
			t.Fatal("a connection has ended, and another one has no place")
		}
	}
	if b, err := io.ReadAll(silent); err != nil || len(b) > 0 {
		t.Errorf("silent: got %q, %v", b, err)
	}
}

// Connections that send nothing, a part of a request, or a wrong key exclude no caller with
// a key, new or old.
func TestAPIAnonymousConnectionsGiveWay(t *testing.T) {
	const key = "the-only-key-of-this-server"
	for name, sent := range map[string]string{
		"silent":      "",
		"one byte":    "G",
		"half a head": "POST /v1/broadcast HTTP/1.1\r\nHost: a\r\n",
		"health":      "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, server.Config{}, Config{Keys: []string{key}, MaxConnections: 10}, nil)
			s.key = key
			authorized := getStats + "Authorization: Bearer " + key + "\r\n\r\n"
			old := s.raw()
			io.WriteString(old, authorized)
			if got := readAnswer(t, old); got.status != 200 {
				t.Fatal(got)
			}
			for range 50 {
				c := s.raw()
				io.WriteString(c, sent)
			}
			if got := s.call("GET", "/v1/stats", ""); got.status != 200 {
				t.Errorf("a new caller: %v", got)
			}
			io.WriteString(old, authorized)
			if got := readAnswer(t, old); got.status != 200 {
				t.Errorf("an old caller: %v", got)
			}
			f := s.api.figures()
			if f.API.Displaced < 40 || f.API.Rejected > 0 || f.API.Connections > 10 {
				t.Errorf("got %+v", f.API)
			}
		})
	}
}

// The places go in this order: the oldest anonymous connection, the one that has been idle
// for longest, none that has a request in progress.
func TestConnTableOrder(t *testing.T) {
	var table connTable
	table.init(4, 0)
	add := func(want *conn, wantOK bool) *conn {
		t.Helper()
		c := new(conn)
		victim, ok := table.add(c)
		if victim != want || ok != wantOK {
			t.Fatalf("got %p %v, want %p %v", victim, ok, want, wantOK)
		}
		return c
	}
	authorize := func(c *conn) {
		table.note(c, fasthttp.StateActive)
		table.markAuthorized(c)
	}
	a := add(nil, true)
	b := add(nil, true)
	c := add(a, true) // half of the places
	authorize(b)
	authorize(c)
	d := add(nil, true)
	e := add(nil, true)
	f := add(d, true) // all places, two of them anonymous
	authorize(e)
	authorize(f)
	add(nil, false) // all are active
	table.note(c, fasthttp.StateIdle)
	table.note(b, fasthttp.StateIdle)
	g := add(c, true)
	h := add(g, true)
	table.note(h, fasthttp.StateClosed)
	add(nil, true)
	if n := table.len(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
	table.note(c, fasthttp.StateClosed) // was closed for g
	table.markAuthorized(a)             // was closed for c
	if n := table.len(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

// The limit follows the descriptors that public connections leave, and the message of a
// rejection says so.
func TestConnTableLimit(t *testing.T) {
	descriptors := limit.OpenFiles()
	if descriptors == 0 {
		t.Skip("the descriptor limit is unknown here")
	}
	for _, test := range []struct {
		name               string
		configured, public int
		limit              int
		cause              bool
	}{
		{"configured", 7, descriptors, 7, false},
		{"plenty", 0, descriptors - 1<<20, maxConnections, false},
		{"few", 0, descriptors - 200, 100, true},
		{"none", 0, descriptors + 5, minConnections, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var table connTable
			table.init(test.configured, test.public)
			if table.limit != test.limit || strings.Contains(table.full.Message, "descriptor limit") != test.cause {
				t.Errorf("got %d, %s", table.limit, table.full.Message)
			}
		})
	}
}

// Start logs a low limit.
func TestAPILowLimitIsLogged(t *testing.T) {
	var log syncBuffer
	newAPIServer(t, server.Config{}, Config{MaxConnections: 3, Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	if !strings.Contains(log.String(), "API connection limit is low") {
		t.Errorf("got %s", log.String())
	}
}

// The number of connections that are answered 503 at a time is bounded.
func TestAPIRejectionsAreBounded(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{MaxConnections: 1}, func(a *API) {
		for range maxRejected - 1 {
			there, here := net.Pipe()
			t.Cleanup(func() { there.Close() })
			a.conns.rejected[&conn{Conn: here, api: a}] = struct{}{}
		}
	})
	s.busy()
	s.raw() // is waited for
	c := s.raw()
	io.WriteString(c, getStats+"\r\n")
	if b, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) || len(b) > 0 { // a reset is all right
		t.Errorf("got %q, %v", b, err)
	}
	began := time.Now()
	s.api.Shutdown()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("took %v", took)
	}
	s.Shutdown(context.Background())
}
