package netpoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestEcho(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport, ReadBuffer: 4 << 10}, network, nil)
		nc, s := r.connect()
		for _, n := range []int{1, 2, 125, 4<<10 - 1, 4 << 10, 4<<10 + 1, 8 << 10, 16 << 10, 100_000} {
			text := strings.Repeat("0123456789", n/10+1)[:n]
			go io.WriteString(nc, text) // larger than what fits the sockets
			expect(t, nc, text)
		}
		nc.Close()
		wantClosed(t, s, io.EOF)
	})
}

func TestEchoOfMany(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, nil)
		var wg sync.WaitGroup
		for i := range 50 {
			nc := r.dial()
			wg.Go(func() {
				text := bytes.Repeat([]byte{byte(i)}, 1+i*100)
				got := make([]byte, len(text))
				for range 20 {
					nc.Write(text)
					if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, text) {
						t.Errorf("connection %d: %v", i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if n := r.e.Opened(); n != 50 {
			t.Errorf("%d connections are open, want 50", n)
		}
	})
}

// A flood from one connection does not keep others waiting, and no byte is lost.
func TestFlood(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		var got int
		done := make(chan struct{})
		const all = 8 << 20
		r := newRig(t, Config{Transport: transport, ReadBuffer: 4 << 10}, network, func(s *session, b []byte) {
			if b[0] == 'e' {
				s.WriteBorrowed(b, CloseOnFull)
			} else if got += len(b); got == all+1 { // and the first byte
				close(done)
			}
		})
		flood, _ := r.connect()
		other := r.dial()
		go flood.Write(make([]byte, all))
		for range 20 {
			must(t, other, "echo")
			expect(t, other, "echo")
		}
		await(t, done)
	})
}

func TestHalfClose(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, nil)
		nc, s := r.connect()
		must(t, nc, "last bytes")
		nc.(interface{ CloseWrite() error }).CloseWrite()
		expect(t, nc, "last bytes")
		expectEOF(t, nc)
		wantClosed(t, s, io.EOF)
	})
}

func TestPeerReset(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, nil)
		nc, s := r.connect()
		if tcp, ok := nc.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		} else {
			must(t, nc, "not read: a Unix socket resets, too") // if the echo is still on its way
		}
		nc.Close()
		err := await(t, s.closed)
		if network == "tcp" && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Close(%v), want a reset", err)
		}
		if err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("Close(%v), but the peer did it", err)
		}
	})
}

// A write to a peer that is gone ends the connection with the error of the write, and not
// with net.ErrClosed.
func TestBrokenByWrite(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		hold := make(chan struct{})
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			if b[0] == 'h' {
				<-hold // so that the writer finds out
			}
		})
		nc, s := r.connect()
		must(t, nc, "h")
		eventually(t, "the handler blocks", func() bool { return s.inside.Load() == 1 })
		if tcp, ok := nc.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		nc.Close()
		eventually(t, "a write fails", func() bool { return s.Write([]byte("hello?"), CloseOnFull) == Gone })
		if s.CanWrite() {
			t.Error("CanWrite is true")
		}
		if n := r.e.Stats().Broken; n != 1 {
			t.Errorf("%d broken connections", n)
		}
		close(hold)
		if err := await(t, s.closed); err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			t.Errorf("Close(%v), want the error of a write", err)
		}
	})
}

func TestCloseInData(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			s.Conn.Close()
			if got := s.Write([]byte("more"), CloseOnFull); got != Gone {
				t.Errorf("Write after Close = %v", got)
			}
		})
		nc := r.dial()
		must(t, nc, "x")
		s := <-r.sessions
		wantClosed(t, s, net.ErrClosed)
		expectEOF(t, nc)
	})
}

func TestCloseOutsideHandler(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
		nc, s := r.connect()
		if !s.CanWrite() {
			t.Error("CanWrite is false")
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(s.Conn.Close)
		}
		wantClosed(t, s, net.ErrClosed)
		wg.Wait()
		expectEOF(t, nc)
		s.Conn.Close()
		for _, got := range []Outcome{s.Write([]byte("a"), CloseOnFull), s.WriteBorrowed([]byte("a"), Control), s.Write(nil, DropOldest)} {
			if got != Gone || got.Delivered() {
				t.Errorf("Write = %v, want Gone", got)
			}
		}
		if s.Seal([]byte("a"), false, CloseFlushed) || s.CanWrite() || s.Queued() != 0 {
			t.Error("a closed connection is not over")
		}
		s.Cork()
		s.Uncork()
		if a := s.RemoteAddr(); a.IsValid() {
			t.Errorf("RemoteAddr = %v", a)
		}
	})
}

func TestCloseDropsTheQueue(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
		_, s := r.connect()
		msg := make([]byte, 1000)
		for s.Write(msg, CloseOnFull) == Written {
		}
		s.Write(msg, CloseOnFull)
		s.Conn.Close()
		wantClosed(t, s, net.ErrClosed)
		eventually(t, "what was thrown away is counted", func() bool { return r.e.Stats().Abandoned == 2 })
	})
}

func TestRemoteAddr(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
		nc, s := r.connect()
		got := s.RemoteAddr()
		if tcp, ok := nc.LocalAddr().(*net.TCPAddr); !ok && got.IsValid() || ok && got.String() != tcp.String() {
			t.Errorf("RemoteAddr is %v, the peer calls itself %v", got, nc.LocalAddr())
		}
	})
}

// An ID tells connections apart that have the same descriptor.
func TestIDs(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
		seen := map[uint64]bool{}
		for range 20 {
			nc, s := r.connect()
			if seen[s.ID()] || s.ID() == 0 {
				t.Fatalf("ID %d again", s.ID())
			}
			seen[s.ID()] = true
			nc.Close()
			wantClosed(t, s, io.EOF)
		}
	})
}

func TestReject(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		e, err := New(Config{Transport: transport, RejectResponse: []byte("full")})
		if err != nil {
			t.Fatal(err)
		}
		ln := listen(t, network)
		r := &rig{TB: t, e: e, network: network, addr: ln.Addr().String()}
		if err := e.Listen(ln, rejectAll); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			nc := r.dial()
			expect(t, nc, "full")
			expectEOF(t, nc)
		}
		if s := e.Stats(); s.Rejected != 3 || s.Opened != 0 || e.Opened() != 0 {
			t.Errorf("%d rejected, %d opened, %d open", s.Rejected, s.Opened, e.Opened())
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Bytes that arrive while the handler runs are delivered.
func TestDataWhileInData(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		busy, goOn := make(chan struct{}), make(chan struct{})
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			if b[0] == '1' {
				close(busy)
				<-goOn
			}
			s.WriteBorrowed(b, CloseOnFull)
		})
		nc := r.dial()
		must(t, nc, "1")
		await(t, busy)
		must(t, nc, "2")
		if s := <-r.sessions; transport != Goroutine {
			eventually(t, "the event is there", func() bool { return s.turn.word.Load()&turnMask == turnAgain })
		}
		close(goOn)
		expect(t, nc, "12")
	})
}

// Each visits all connections, although the table grows meanwhile.
func TestEach(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
		want := map[Handler]bool{}
		for range 20 {
			_, s := r.connect()
			want[s] = true
		}
		client, server := net.Pipe() // served by a goroutine in any case
		defer client.Close()
		s := newSession(t, ignore)
		if err := r.e.Adopt(server, &s.Conn, s, nil); err != nil {
			t.Fatal(err)
		}
		want[s] = true
		portions := r.e.Portions()
		r.e.table.grow(int32(r.e.table.portions()*portionSize + 10*pageSize))
		for i := range portions {
			r.e.EachOf(i, func(h Handler) {
				if !want[h] {
					t.Error("an unknown handler, or one for the second time")
				}
				delete(want, h)
			})
		}
		if len(want) > 0 {
			t.Errorf("%d connections were not visited", len(want))
		}
		n := 0
		if r.e.Each(func(Handler) { n++ }); n != 21 {
			t.Errorf("Each saw %d connections, want 21", n)
		}
	})
}

// More connections than one turn accepts wait at once, and all are accepted.
func TestAcceptMany(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		g := newGate()
		r := newRig(t, Config{Transport: transport, Workers: 1}, network, g.data)
		first := r.dial()
		must(t, first, "b") // the only worker blocks, so nothing is accepted
		if transport != Goroutine {
			eventually(t, "it blocks", func() bool { return g.inside.Load() == 1 })
		}
		all := make([]net.Conn, 150)
		for i := range all {
			all[i] = r.dial()
			must(t, all[i], "x")
		}
		close(g.open)
		for _, nc := range all {
			expect(t, nc, "x")
		}
	})
}
