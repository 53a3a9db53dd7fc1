package netpoll

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// churner is a session that counts its calls, and ends when its peer says so.
type churner struct {
	Conn
	t     testing.TB
	calls atomic.Int32
	opens atomic.Int32
	ended atomic.Bool
	in    *atomic.Int64 // sessions that were closed
}

func (c *churner) Open(*Conn) {
	if c.calls.Load() != 0 || c.opens.Add(1) != 1 {
		c.t.Error("Open is not the first call, or comes twice")
	}
}

func (c *churner) Data(_ *Conn, b []byte) int {
	if c.calls.Add(1) != 1 || c.ended.Load() {
		c.t.Error("calls overlap, or come after Close")
	}
	defer c.calls.Add(-1)
	for _, cmd := range b {
		switch cmd {
		case 'c':
			c.Conn.Close()
		case 's':
			c.Seal([]byte("bye"), true, CloseFlushed)
		case 'h':
			c.Seal([]byte("bye"), false, HalfClose)
		case 'k':
			c.Cork()
		}
	}
	c.WriteBorrowed(b, CloseOnFull)
	return len(b)
}

func (c *churner) Close(*Conn, error) {
	if c.calls.Add(1) != 1 || c.ended.Swap(true) {
		c.t.Error("Close overlaps, or comes twice")
	}
	c.calls.Add(-1)
	c.in.Add(1)
}

// Connections open and close in all ways while other goroutines write to them: nothing
// leaks (see TestMain and newRig), and the contract of Handler holds.
func TestChurn(t *testing.T) {
	total := 50_000
	switch {
	case testing.Short():
		total = 5_000
	case raceEnabled:
		total = 10_000 // takes as long
	}
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		n := total / 20 // transports and sockets share it, the first has most
		if transport == Epoll {
			n = total * 3 / 8
		}
		churn(t, transport, network, n)
	})
}

func churn(t *testing.T, transport Transport, network string, n int) {
	const here = 256 // sessions that writers choose from
	var recent [here]atomic.Pointer[churner]
	var opened, closed atomic.Int64
	e, err := New(Config{Transport: transport, QueueBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t, network)
	addr := ln.Addr().String()
	if err := e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
		c := &churner{t: t, in: &closed}
		recent[opened.Add(1)%here].Store(c)
		return &c.Conn, c
	}); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var writers, clients sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			shared := make([]byte, 3<<10)
			for !stop.Load() {
				c := recent[r.IntN(here)].Load()
				if c == nil {
					continue
				}
				switch r.IntN(200) {
				case 0:
					c.Conn.Close()
				case 1:
					c.Seal(shared, r.IntN(2) == 0, Ending(r.IntN(3)))
				case 2:
					c.RemoteAddr()
					c.Queued()
				case 3:
					c.Cork()
					c.Write(shared, DropOldest)
					c.Uncork()
				default:
					c.Write(shared[:r.IntN(len(shared))], Policy(r.IntN(3)))
				}
			}
		})
	}
	var left atomic.Int64
	left.Store(int64(n))
	for g := range 8 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			buf := make([]byte, 4<<10)
			for left.Add(-1) >= 0 {
				nc, err := net.Dial(network, addr)
				if err != nil {
					t.Error(err)
					return
				}
				for range r.IntN(4) {
					if _, err := nc.Write([]byte{"echo,cshk"[r.IntN(9)]}); err != nil {
						break
					}
					if r.IntN(4) > 0 {
						// A writer may have sealed it with KeepOpen: then no
						// answer comes, and this side ends it.
						nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
						if _, err := nc.Read(buf); err != nil {
							break
						}
					}
				}
				if tcp, ok := nc.(*net.TCPConn); ok && r.IntN(2) == 0 {
					tcp.SetLinger(0)
				}
				nc.Close()
			}
		})
	}
	clients.Wait()
	if transport != Goroutine { // while all goes on
		eventually(t, "the engine has nothing any more", func() bool { return e.Opened() == 0 })
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	stop.Store(true)
	writers.Wait()
	if s := e.Stats(); s.Opened != s.Closed || closed.Load() != opened.Load() || e.Opened() != 0 {
		t.Errorf("%d connections, %d calls of Handler.Close: %+v", opened.Load(), closed.Load(), s)
	}
}

// Shutdown, kick, slow close and the peer's close, all at once on one connection.
func TestEndsRace(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, nil)
		for i := range rounds / 6 {
			nc, s := r.connect()
			var wg sync.WaitGroup
			start := make(chan struct{})
			for j, f := range []func(){
				func() { s.Conn.Close() },
				func() { s.Seal([]byte("bye"), true, CloseFlushed) },
				func() { s.Seal([]byte("bye"), false, HalfClose) },
				func() { s.WriteBorrowed([]byte("text"), CloseOnFull) },
				func() { nc.Write([]byte("text")) },
				func() { nc.Close() },
			} {
				if (i>>j)&1 == 0 || j == 5 {
					wg.Go(func() { <-start; f() })
				}
			}
			close(start)
			wg.Wait()
			if err := await(t, s.closed); err == nil {
				t.Error("Close without a reason")
			}
		}
	})
}

// Engine.Close with connections in every state.
func TestCloseEngineUnderLoad(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		g := newGate()
		r := newRig(t, Config{Transport: transport}, network, g.data)
		var sessions []*session
		for i := range 60 {
			nc, s := r.connect()
			sessions = append(sessions, s)
			switch i % 4 {
			case 0:
				must(t, nc, "b") // its handler blocks
			case 1:
				s.Write(make([]byte, 8<<20), CloseOnFull) // its peer does not read
			case 2:
				s.Seal([]byte("bye"), false, KeepOpen)
			}
		}
		eventually(t, "handlers block", func() bool { return g.inside.Load() == 15 })
		done := make(chan struct{})
		go func() {
			r.e.Close()
			r.e.Close()
			close(done)
		}()
		for i, s := range sessions {
			if i%4 != 0 { // Seal what can be sealed
				wantClosed(t, s, net.ErrClosed)
			}
		}
		select {
		case <-done:
			t.Error("Close does not wait for handlers")
		default:
		}
		close(g.open)
		await(t, done)
		for i, s := range sessions {
			if i%4 == 0 {
				wantClosed(t, s, net.ErrClosed)
			}
		}
		if _, err := net.Dial(network, r.addr); err == nil {
			t.Error("the listener is open")
		}
		if err := r.e.Close(); err != nil {
			t.Errorf("a later Close: %v", err)
		}
	})
}

func TestStopAccepting(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, nil)
		nc, _ := r.connect()
		r.e.StopAccepting()
		r.e.StopAccepting()
		eventually(t, "no connection is accepted", func() bool {
			nc, err := net.Dial(network, r.addr)
			if err == nil {
				nc.Close()
			}
			return err != nil
		})
		must(t, nc, "those inside go on")
		expect(t, nc, "those inside go on")
		eventually(t, "the listener is not counted", func() bool { return r.e.Opened() == 1 })
		ln := listen(t, network) // and one may listen again
		r.addr = ln.Addr().String()
		if err := r.e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
			s := newSession(t, nil)
			r.sessions <- s
			return &s.Conn, s
		}); err != nil {
			t.Fatal(err)
		}
		r.connect()
	})
}
