package netpoll

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for an event that must come.
const patience = 20 * time.Second

// session is a Handler that checks the contract: calls never overlap, Open is the first
// and Close the last, and each comes once.
type session struct {
	Conn
	t       testing.TB
	data    func(s *session, b []byte)     // nil: echo
	consume func(s *session, b []byte) int // replaces data in a handler that does not consume all bytes
	onOpen  func(s *session)               // nil: nothing
	opened  chan struct{}                  // closed by the first Data
	closed  chan error
	inside  atomic.Int32
	ready   atomic.Bool // Open was called
	started atomic.Bool
	ended   atomic.Bool
	peer    netip.AddrPort // at Release
	partial atomic.Bool    // a message is incomplete
}

func (s *session) AtRest() bool { return !s.partial.Load() }

func (s *session) Open(c *Conn) {
	if s.inside.Add(1) != 1 {
		s.t.Error("Open while another call is under way")
	}
	defer s.inside.Add(-1)
	if s.ready.Swap(true) || s.started.Load() || s.ended.Load() {
		s.t.Error("Open is not the first call, or comes twice")
	}
	if s.onOpen != nil {
		s.onOpen(s)
	}
}

func (s *session) Data(c *Conn, b []byte) int {
	if s.inside.Add(1) != 1 {
		s.t.Error("two calls for one connection at a time")
	}
	defer s.inside.Add(-1)
	if !s.ready.Load() || s.ended.Load() {
		s.t.Error("Data before Open or after Close")
	}
	if len(b) == 0 {
		s.t.Error("Data without bytes")
	}
	if !s.started.Swap(true) {
		defer close(s.opened)
	}
	if s.consume != nil {
		return s.consume(s, b)
	}
	if s.data != nil {
		s.data(s, b)
	} else {
		s.WriteBorrowed(b, CloseOnFull)
	}
	return len(b)
}

func (s *session) Release(c *Conn) {
	if s.inside.Add(1) != 1 {
		s.t.Error("Release while another call is under way")
	}
	defer s.inside.Add(-1)
	if !s.ready.Load() || s.ended.Load() {
		s.t.Error("Release before Open or after Close")
	}
	s.peer = c.RemoteAddr()
}

func (s *session) Close(c *Conn, err error) {
	if s.inside.Add(1) != 1 {
		s.t.Error("Close while another call is under way")
	}
	defer s.inside.Add(-1)
	if s.ended.Swap(true) {
		s.t.Error("a second Close")
		return
	}
	s.closed <- err
}

// rig is an engine with a listener.
type rig struct {
	testing.TB
	e        *Engine
	network  string
	addr     string
	sessions chan *session
}

func newSession(t testing.TB, data func(*session, []byte)) *session {
	return &session{t: t, data: data, opened: make(chan struct{}), closed: make(chan error, 1)}
}

func newRig(t testing.TB, cfg Config, network string, data func(s *session, b []byte)) *rig {
	t.Helper()
	return newRigOf(t, cfg, network, func() *session { return newSession(t, data) })
}

// newRigOf is newRig for sessions that makeSession returns.
func newRigOf(t testing.TB, cfg Config, network string, makeSession func() *session) *rig {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return newRigOn(t, e, network, makeSession)
}

// newRigOn is newRigOf for an engine that was made already.
func newRigOn(t testing.TB, e *Engine, network string, makeSession func() *session) *rig {
	t.Helper()
	r := &rig{TB: t, e: e, network: network, sessions: make(chan *session, 20_000)}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Engine.Close: %v", err)
		}
		if n := e.Opened(); n != 0 {
			t.Errorf("%d connections are open after Close", n)
		}
		if s := e.Stats(); s.Opened != s.Closed || s.Workers != 0 || s.Queued != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
	ln := listen(t, network)
	r.addr = ln.Addr().String()
	if err := e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
		s := makeSession()
		r.sessions <- s
		return &s.Conn, s
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	smallBuffers(ln)
	return ln
}

// everywhere runs a test for each transport, over TCP and Unix sockets.
func everywhere(t *testing.T, f func(t *testing.T, transport Transport, network string)) {
	for _, transport := range transports {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(transport.String()+"/"+network, func(t *testing.T) { f(t, transport, network) })
		}
	}
}

func (r *rig) dial() net.Conn {
	r.Helper()
	nc, err := net.Dial(r.network, r.addr)
	if err != nil {
		r.Fatal(err)
	}
	if b, ok := nc.(interface{ SetReadBuffer(int) error }); ok {
		b.SetReadBuffer(64 << 10)
	}
	nc.SetDeadline(time.Now().Add(patience)) // a test that hangs fails by itself
	r.Cleanup(func() { nc.Close() })
	return nc
}

// connect returns both ends of a connection on which the session has received one byte.
func (r *rig) connect() (net.Conn, *session) {
	r.Helper()
	nc := r.dial()
	must(r, nc, "x")
	s := <-r.sessions
	await(r, s.opened)
	if s.data == nil && s.consume == nil {
		expect(r, nc, "x")
	}
	return nc, s
}

// ignore is a data function that does nothing with the bytes.
func ignore(*session, []byte) {}

func must(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func expect(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %.40q, %v; want %.40q", got[:n], err, want)
	}
}

func expectEOF(t testing.TB, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Fatalf("read %d bytes, %v; want the end of the stream", len(b), err)
	}
}

// await receives from ch, or fails the test with all stacks.
func await[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("nothing happens:\n%s", buf[:runtime.Stack(buf, true)])
	}
	return v
}

// eventually waits until a condition that has no channel is true. The longer that takes, the
// less often it looks: some conditions read tables of the kernel.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	pause := 100 * time.Microsecond
	for deadline := time.Now().Add(patience); !ok(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(pause)
	}
}

func wantClosed(t testing.TB, s *session, want error) {
	t.Helper()
	if err := await(t, s.closed); !errors.Is(err, want) {
		t.Errorf("Close(%v), want %v", err, want)
	}
}

func rejectAll(netip.AddrPort) (*Conn, Handler) { return nil, nil }
