package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/drain"
)

// shutdown runs Shutdown aside.
func shutdown(srv *Server, ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(ctx) }()
	return done
}

func TestDrain(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		a, b := dial(t, srv, "/ws?user=a"), dial(t, srv, "/echo")
		half := connect(t, srv)
		half.say("GET /ws?user=b HTTP/1.1\r\n")
		silent := connect(t, srv)
		await(t, "four connections", func() bool { return srv.engine.Opened() == 4 })
		await(t, "half a request has come", func() bool { return halfRequests(srv) == 1 })

		push(srv, "a", Text, []byte("last words"))
		done := shutdown(srv, context.Background())
		a.want(Text, "last words")
		for _, c := range []*client{a, b} {
			c.wantClose(1001)
			c.send(ws.OpClose, closePayload(1001, ""))
			c.wantEnd()
		}
		for _, c := range []*client{half, silent} {
			if resp := c.answer(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%d %v, want 503 and when to try again", resp.StatusCode, resp.Header)
			}
			c.wantEnd()
			c.Close()
		}
		if err := receive(t, "Shutdown", done); err != nil {
			t.Error(err)
		}
		if n := srv.stats.Closes[1001].Load(); n != 2 {
			t.Errorf("%d closes with 1001 were counted, want 2", n)
		}
		if n := srv.stats.Rejected[503].Load(); n != 2 {
			t.Errorf("%d rejections with 503 were counted, want 2", n)
		}
		if _, err := net.Dial("tcp", srv.Addr().String()); err == nil {
			t.Error("still listens")
		}
	})
}

// halfRequests counts the connections that have sent half a request.
func halfRequests(srv *Server) (n int) {
	srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.ext.Load() != nil {
			n++
		}
	})
	return n
}

// Drain also ends a connection that arrives while it lists the others.
func TestDrainEndsLateConnections(t *testing.T) {
	srv := start(t, Config{})
	first := dial(t, srv, "/ws?user=a")
	done := shutdown(srv, context.Background())
	first.wantClose(1001)
	// The listener is closed, but it may be that one was accepted before.
	here, there, err := socketPair(t)
	if err != nil {
		t.Fatal(err)
	}
	s := srv.newSession(srv.unrouted)
	if err := srv.engine.Adopt(there, &s.conn, handler{s}, nil); err != nil {
		t.Fatal(err)
	}
	late := &client{Conn: here, t: t, br: bufio.NewReader(here)}
	if resp := late.answer(); resp.StatusCode != 503 {
		t.Errorf("status %d, want 503", resp.StatusCode)
	}
	late.Close()
	first.Close()
	if err := receive(t, "Shutdown", done); err != nil {
		t.Error(err)
	}
}

func TestDrainIsPaced(t *testing.T) {
	const sessions, rate = 60, 100
	srv := start(t, Config{DrainRate: rate})
	for range sessions {
		c := dial(t, srv, "/echo")
		go c.finish()
	}
	begun := time.Now()
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	// The first batch goes at once: a step's worth and one.
	least := time.Duration(sessions-1)*time.Second/rate - drain.Step
	if took := time.Since(begun); took < least {
		t.Errorf("%d sessions were closed in %v, at %d a second it takes %v", sessions, took, rate, least)
	}
}

func TestDrainCutsOff(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		deaf := dial(t, srv, "/ws?user=a")
		slow := connect(t, srv)
		slow.say("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
		await(t, "the ordinary request", func() bool { return srv.stats.Fallback.Load() == 1 })

		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		err := srv.Shutdown(ctx)
		if err == nil || !strings.Contains(err.Error(), "2 connections did not close in time") {
			t.Errorf("Shutdown: %v", err)
		}
		deaf.wantClose(1001)
		deaf.wantGone()
		slow.wantGone()
		if n := srv.stats.Closes[1001].Load(); n != 1 {
			t.Errorf("%d closes with 1001 were counted, want 1", n)
		}
	})
}

func TestShutdownTwice(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		c := dial(t, srv, "/echo")
		first := shutdown(srv, context.Background())
		c.wantClose(1001)

		hurried, cancel := context.WithCancel(context.Background())
		cancel()
		if err := srv.Shutdown(hurried); !errors.Is(err, context.Canceled) {
			t.Errorf("a second Shutdown with a ctx that is done: %v", err)
		}
		second := shutdown(srv, context.Background())
		c.send(ws.OpClose, closePayload(1001, ""))
		for _, done := range []<-chan error{first, second, shutdown(srv, context.Background())} {
			if err := receive(t, "Shutdown", done); err != nil {
				t.Error(err)
			}
		}
		if got := srv.status.Load(); got != stopped {
			t.Errorf("status is %d, want stopped", got)
		}
	})
}

// Shutdown returns although a hook does not.
func TestShutdownWithRunningHook(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	closed := make(chan frame.CloseError, 1)
	srv := start(t, Config{Endpoints: []Endpoint{{Path: "/", Hooks: Hooks{
		OnMessage: func(*Session, Op, []byte) { close(entered); <-leave },
		OnClose:   func(_ *Session, why frame.CloseError) { closed <- why },
	}}}})
	c := dial(t, srv, "/")
	c.send(Text, "x")
	receive(t, "OnMessage", entered)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	close(leave)
	receive(t, "OnClose", closed)
	receive(t, "the end", srv.ended)
}

func TestRun(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv, err := New(Config{Transport: transport, Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- srv.Run(ctx, 10*time.Second) }()
		await(t, "it serves", func() bool { return srv.status.Load() == serving })
		c := dial(t, srv, "/echo")
		cancel()
		if code := c.finish(); code != 1001 {
			t.Errorf("closed with %d", code)
		}
		if err := receive(t, "Run", done); err != nil {
			t.Error(err)
		}
	})
}

func TestRunFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	srv, err := New(Config{Listen: ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Run(context.Background(), time.Second); err == nil {
		t.Error("runs on an address that is in use")
	}
}

// Servers that come and go leak nothing; the rest is TestMain's.
func TestNewAndShutdown(t *testing.T) {
	before := runtime.NumGoroutine()
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for range 20 {
			srv, err := New(Config{Transport: transport})
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	})
	await(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

// socketPair is a connection over loopback, both sides of it.
func socketPair(t *testing.T) (a, b net.Conn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { a.Close() })
	a.SetDeadline(time.Now().Add(20 * time.Second))
	b, err = ln.Accept()
	return a, b, err
}

// A request that is complete only when the server drains is rejected.
func TestDrainRejectsHandshakes(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		c := connect(t, srv)
		await(t, "a connection", func() bool { return srv.connections.Load() == 1 })
		srv.status.Store(draining) // as Shutdown does, before it looks at the sessions
		c.say(handshakeFor("/echo"))
		if resp := c.answer(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%d %v, want 503 and when to try again", resp.StatusCode, resp.Header)
		}
		srv.status.Store(serving)
	})
}

// During DrainDelay the server serves new and old clients, but says that it is leaving.
func TestDrainDelay(t *testing.T) {
	srv := start(t, Config{DrainDelay: time.Hour, CloseTimeout: 200 * time.Millisecond})
	old := dial(t, srv, "/echo")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- srv.Drain(ctx) }()
	await(t, "leaving", func() bool { return srv.Status() == Leaving })
	dial(t, srv, "/echo")
	old.send(Text, "still here")
	old.want(Text, "still here")
	cancel() // it ends the delay, too
	<-drained
	if srv.Status() != Draining {
		t.Errorf("it is %v", srv.Status())
	}
	await(t, "closed listener", func() bool {
		nc, err := net.Dial("tcp", srv.Addr().String())
		if err == nil {
			nc.Close()
		}
		return err != nil
	})
}

// Drain waits for the delay even if there are no sessions: clients are on their way.
func TestDrainDelayWithoutSessions(t *testing.T) {
	const delay = 200 * time.Millisecond
	srv := start(t, Config{DrainDelay: delay})
	begun := time.Now()
	if err := srv.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took < delay {
		t.Errorf("it drained after %v", took)
	}
}
