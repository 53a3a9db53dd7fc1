package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/netpoll"
)

var transports = []netpoll.Transport{netpoll.Epoll, netpoll.Easygo, netpoll.Goroutine}

// overTransports runs a test over each of them; with -short, as on 32 bits, over the first: the
// tests of netpoll run over all.
func overTransports(t *testing.T, test func(t *testing.T, transport netpoll.Transport)) {
	for _, transport := range transports {
		if testing.Short() && transport != transports[0] {
			continue
		}
		t.Run(transport.String(), func(t *testing.T) { test(t, transport) })
	}
}

// start runs a server on a free port and shuts it down when the test ends.
func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, srv)
	return srv
}

func serve(t testing.TB, srv *Server) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	})
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
}

// manualClock moves the clock of a server, which stands still otherwise.
type manualClock struct {
	clock clock
	now   atomic.Int64
}

// startStopped is start for a server whose clock stands still.
func startStopped(t testing.TB, cfg Config) (*Server, *manualClock) {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	srv, err := newServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := &manualClock{clock: clock{srv: srv}}
	srv.now = func() time.Duration { return time.Duration(h.now.Load()) }
	serve(t, srv)
	return srv, h
}

// pass lets time go by, tick after tick.
func (h *manualClock) pass(d time.Duration) {
	for range d / tick {
		h.now.Add(int64(tick))
		h.clock.beat()
	}
}

// await waits until a condition is true. It is for what a test cannot wait for
// in a better way.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// receive takes a value from a channel, soon.
func receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	select {
	case v = <-c:
	case <-deadline.C:
		t.Fatalf("did not happen: %s", what)
	}
	return v
}

// logBuffer is a log that tests look into.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *logBuffer) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func (j *logBuffer) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), s)
}

func TestStart(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		t.Run("address in use leaves nothing open", func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			for _, cfg := range []Config{
				{Transport: transport, Listen: ln.Addr().String()},
			} {
				srv, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := srv.Start(); err == nil || !strings.Contains(err.Error(), "address already in use") {
					t.Errorf("Start: %v", err)
				}
				if err := srv.Shutdown(context.Background()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			}
		})
		t.Run("after Shutdown", func(t *testing.T) {
			srv, err := New(Config{Transport: transport, Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := srv.Start(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Start: %v", err)
			}
		})
		t.Run("Unix socket", func(t *testing.T) {
			path := "unix:" + filepath.Join(t.TempDir(), "s")
			for range 2 { // the second finds what the first has left, if it has
				srv := start(t, Config{Transport: transport, Listen: path})
				c := dial(t, srv, "/ws?user=alice")
				push(srv, "alice", Text, []byte("hello"))
				c.want(Text, "hello")
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				go c.finish()
				if err := srv.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	})
}

// push, publish and broadcast return the number of receivers.
func push(srv *Server, user string, op Op, payload []byte) int {
	return receivers(srv.Push(context.Background(), user, NewMessage(op, payload)))
}

func publish(srv *Server, topic string, op Op, payload []byte) int {
	return receivers(srv.Publish(context.Background(), topic, NewMessage(op, payload)))
}

func broadcast(srv *Server, op Op, payload []byte) int {
	return receivers(srv.Broadcast(context.Background(), NewMessage(op, payload)))
}

func receivers(d Delivery, err error) int {
	if err != nil {
		panic(err)
	}
	return d.Receivers
}

func userSessions(srv *Server, user string) []*Session { return srv.users.AppendUser(nil, user) }

// dialects are Plain under other names.
func dialects(protocols ...string) (list []Dialect) {
	for _, p := range protocols {
		list = append(list, named{Plain(), p})
	}
	return append(list, Plain())
}

type named struct {
	Dialect
	protocol string
}

func (n named) Protocol() string { return n.protocol }
