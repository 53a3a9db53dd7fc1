package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/api/internal/places"
	"fanfare/server/internal/limit"
)

// flood is a connection with always more to read.
type flood struct{ net.Conn }

func (flood) Read(p []byte) (int, error) { return len(p), nil }

// With one processor the other goroutine runs only when this one yields.
func TestLongBodiesYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, test := range []struct {
		name string
		read func(c *conn, n int64) error
	}{
		{"at once", func(c *conn, n int64) error { _, err := io.ReadFull(c, make([]byte, n)); return err }},
		{"bit by bit", func(c *conn, n int64) error {
			_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{io.LimitReader(c, n)}, make([]byte, 8<<10))
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			const stretches = 1000 // more than the runtime interrupts of its own accord, once in 10 ms
			var turns atomic.Int64
			var over atomic.Bool
			var other sync.WaitGroup
			other.Go(func() {
				for !over.Load() {
					turns.Add(1)
					runtime.Gosched()
				}
			})
			if err := test.read(&conn{Conn: flood{}, api: new(API)}, stretches*stretch); err != nil {
				t.Fatal(err)
			}
			got := turns.Load()
			over.Store(true)
			other.Wait()
			// The runtime goes on with the same one each 61st time.
			if got < stretches*9/10 {
				t.Errorf("others had %d turns during %d stretches", got, stretches)
			}
		})
	}
}

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

// The answer to a connection without a place says where the limit comes from.
func TestFullProblem(t *testing.T) {
	descriptors := limit.OpenFiles()
	if descriptors == 0 {
		t.Skip("the descriptor limit is unknown here")
	}
	for configured, want := range map[int]string{
		7: "all 7 connections of the API have a request in progress; send fewer requests at a time",
		0: fmt.Sprintf("all %d connections of the API have a request in progress; send fewer requests at a time; "+
			"the limit follows from the descriptor limit of the server, which is %d", limit.Divide(0).API, descriptors),
	} {
		if p := fullProblem(places.New[*conn](configured, 0)); p.Message != want || p.Status != 503 {
			t.Errorf("got %+v, want %s", p, want)
		}
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
		for c := (*conn)(nil); ; {
			there, here := net.Pipe()
			t.Cleanup(func() { there.Close() })
			next := &conn{Conn: here, api: a}
			if !a.conns.Reject(next) {
				a.conns.Rejected(c) // leaves room for one
				break
			}
			c = next
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
