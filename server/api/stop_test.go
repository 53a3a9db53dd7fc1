package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/frame"
	"fanfare/server"
)

// TestReadiness checks /readyz in each phase of a server's life.
func TestReadiness(t *testing.T) {
	s := newAPIServer(t, server.Config{CloseTimeout: time.Minute}, Config{}, func(a *API) {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/readyz")
		a.serve(&ctx)
		if got := ctx.Response.StatusCode(); got != 503 {
			t.Errorf("starting: got %d", got)
		}
	})
	if got := s.call("GET", "/readyz", ""); got.status != 200 {
		t.Errorf("serving: got %v", got)
	}
	c := s.connect("/ws?user=alice")
	drain, cut := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Drain(drain) }()
	c.expectClose(frame.StatusGoingAway, "server is going away; retry=5") // and does not answer it
	if got := s.call("GET", "/readyz", ""); got.status != 503 || got.errorCode() != "not_ready" {
		t.Errorf("draining: got %v", got)
	}
	if got := s.call("GET", "/healthz", ""); got.status != 200 {
		t.Errorf("draining: got %v", got)
	}
	cut()
	if err := <-done; err == nil {
		t.Error("nothing was cut off")
	}
}

// TestAPIShutdown: connections that wait for a request end at once, and one that is
// in the middle of a request when the grace is over.
func TestAPIShutdown(t *testing.T) {
	for name, tt := range map[string]struct {
		sent     string
		answered bool
		grace    time.Duration
	}{
		"silent":          {"", false, patience},
		"idle":            {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", true, patience},
		"half a request":  {"GET /healthz HT", false, 50 * time.Millisecond},
		"half a body":     {"POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf", false, 50 * time.Millisecond},
		"batch, no line":  {"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", false, patience},
		"batch, half one": {"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{", false, patience},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, server.Config{}, Config{}, func(a *API) { a.grace = tt.grace })
			c := s.raw()
			io.WriteString(c, tt.sent)
			if tt.answered {
				readAnswer(t, c)
			}
			s.call("GET", "/healthz", "") // by now the other connection is known
			began := time.Now()
			s.api.Shutdown()
			if took := time.Since(began); took > patience/2 {
				t.Errorf("took %v", took)
			}
			if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
}

// TestAPIShutdownAtOnce stops APIs at every moment of their start.
func TestAPIShutdownAtOnce(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	for range 50 {
		a, err := New(s.Server, Config{Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan error, 1)
		go func() { started <- a.Start() }()
		a.Shutdown()
		if err := <-started; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if at := a.Addr(); at != nil {
			if c, err := net.Dial("tcp", at.String()); err == nil {
				c.Close()
				t.Error("the API still listens")
			}
		}
	}
}

// TestAPIShutdownWaitsForStart: the goroutine that serves is registered in the same moment as
// Start finds that Shutdown was not called, so that Shutdown waits for it, and none begins
// after Shutdown. The log line is the first thing that Start does afterwards.
func TestAPIShutdownWaitsForStart(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	s.api.Shutdown() // the other API of this test
	others := registered()
	var a *API
	logged := 0
	log := slog.New(callHandler(func(r slog.Record) {
		if logged++; r.Message != "API connection limit is low" {
			t.Errorf("logged %q", r.Message)
		}
		if n := newSince(others); n != 1 {
			t.Errorf("Start goes on with %d goroutines registered, want 1", n)
		}
		a.Shutdown()
	}))
	a, err := New(s.Server, Config{Listen: "127.0.0.1:0", MaxConnections: 1, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil || logged != 1 {
		t.Errorf("%v, %d lines are logged", err, logged)
	}
	if n := newSince(others); n != 0 {
		t.Errorf("%d goroutines are left after Shutdown", n)
	}
	if err := a.Start(); !errors.Is(err, net.ErrClosed) || newSince(others) != 0 {
		t.Errorf("a later Start returns %v", err)
	}
}

// registered returns the IDs of the goroutines that a WaitGroup waits for.
func registered() (ids []string) {
	stacks := make([]byte, 1<<20)
	for g := range bytes.SplitSeq(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
		if bytes.Contains(g, []byte("created by sync.(*WaitGroup).Go ")) {
			ids = append(ids, string(bytes.Fields(g)[1])) // goroutine 7 [running]:
		}
	}
	return ids
}

// newSince counts the goroutines that are registered, and were not before. A worker of the
// server, which is idle, may end meanwhile.
func newSince(before []string) int {
	return len(slices.DeleteFunc(registered(), func(id string) bool { return slices.Contains(before, id) }))
}

// callHandler is a slog.Handler that calls itself for each record.
type callHandler func(slog.Record)

func (callHandler) Enabled(context.Context, slog.Level) bool        { return true }
func (h callHandler) Handle(_ context.Context, r slog.Record) error { h(r); return nil }
func (h callHandler) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h callHandler) WithGroup(string) slog.Handler                 { return h }

// TestAPIStopBeforeServe stops the API after it listens and before fasthttp serves.
func TestAPIStopBeforeServe(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	a, err := New(s.Server, Config{Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.ln = ln
	a.Shutdown()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is not closed: %v", err)
	}
}

// brokenListener fails a few times before each connection.
type brokenListener struct {
	fail  int
	conns chan net.Conn
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.fail > 0 {
		l.fail--
		return nil, errors.New("accept: too many open files")
	}
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *brokenListener) Close() error   { return nil }
func (l *brokenListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestRetryListener(t *testing.T) {
	var log syncBuffer
	inner := &brokenListener{fail: 4, conns: make(chan net.Conn, 1)}
	a := &API{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	a.quit, a.stop = context.WithCancel(t.Context())
	ln := &retryListener{Listener: inner, api: a}
	here, there := net.Pipe()
	defer there.Close()
	inner.conns <- here
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if n := len(log.lines()); n != 1 {
		t.Errorf("%d lines are logged for one shortage: %s", n, log.String())
	}
	close(inner.conns)
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	a.stop()
	ln = &retryListener{Listener: &brokenListener{fail: 1 << 30}, api: a}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended: %v", err)
	}
}
