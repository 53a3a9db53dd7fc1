package netpoll

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// sip returns a consume function that takes a few bytes at a time.
func sip(take func(s *session, b []byte)) func(s *session, b []byte) int {
	var n atomic.Int32
	return func(s *session, b []byte) int {
		k := min(1+int(n.Add(1)%7), len(b))
		take(s, b[:k])
		return k
	}
}

func consumer(t testing.TB, consume func(s *session, b []byte) int) *session {
	s := newSession(t, nil)
	s.consume = consume
	return s
}

// Data gets the bytes that it has not consumed again, in order and before later bytes.
func TestUnconsumedComesAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		echo := sip(func(s *session, b []byte) { s.WriteBorrowed(b, CloseOnFull) })
		cfg := Config{Transport: transport, QueueBytes: 1 << 20} // no read fills its buffer
		r := newRigOf(t, cfg, network, func() *session { return consumer(t, echo) })
		var all sync.WaitGroup
		for range 4 {
			nc := r.dial()
			all.Go(func() {
				out := make([]byte, 16<<10)
				for i := range out {
					out[i] = byte(i % 251)
				}
				go nc.Write(out)
				in := make([]byte, len(out))
				for n := 0; n < len(in); {
					k, err := nc.Read(in[n:])
					if err != nil {
						t.Errorf("after %d bytes: %v", n, err)
						return
					}
					n += k
				}
				if !bytes.Equal(in, out) {
					t.Error("the bytes came in another order")
				}
			})
		}
		all.Wait()
		if yielded := r.e.Stats().Yielded > 0; yielded != (transport != Goroutine) {
			t.Errorf("yielded is %v", yielded)
		}
	})
}

// The bytes that Adopt was given may be left over, too: they are kept if a buffer
// takes them, and else presented again at once.
func TestUnconsumedPending(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for _, n := range []int{1 << 10, 1<<10 + 2} {
			e := newEngine(t, Config{Transport: transport, ReadBuffer: 1 << 10})
			_, server := accepted(t, network)
			pending := bytes.Repeat([]byte("p"), n)
			var got []byte
			var calls atomic.Int32
			hold, whole := make(chan struct{}), make(chan struct{})
			s := consumer(t, func(s *session, b []byte) int {
				k := len(b)
				switch calls.Add(1) {
				case 1:
					k = 1
				case 2:
					if kept := n-1 <= 1<<10 && transport != Goroutine; kept {
						<-hold // Adopt has returned
					}
				}
				if got = append(got, b[:k]...); len(got) == n {
					close(whole)
				}
				return k
			})
			if err := e.Adopt(server, &s.Conn, s, pending); err != nil {
				t.Fatal(err)
			}
			close(hold)
			await(t, whole)
			if !bytes.Equal(got, pending) || calls.Load() != 2 {
				t.Errorf("got %d bytes in %d calls", len(got), calls.Load())
			}
			eventually(t, "the buffer is free", func() bool { return e.leftovers.n.Load() == 0 })
		}
	})
}

// Data gets bytes that Adopt left over again although no event arrives: the peer sends nothing,
// and the socket is full before the poller looks at it.
func TestUnconsumedPendingWithoutEvents(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		inside, release := make(chan struct{}), make(chan struct{})
		r := newRig(t, Config{Transport: transport, Workers: 1, QueueBytes: 8 << 20}, "tcp", func(*session, []byte) {
			close(inside)
			<-release
		})
		must(t, r.dial(), "x")
		await(t, inside)                 // the only worker does not poll
		_, server := accepted(t, "unix") // stays full until its peer reads
		whole := make(chan struct{})
		s := consumer(t, func(_ *session, b []byte) int {
			if len(b) == 1 {
				close(whole)
			}
			return 1
		})
		s.onOpen = func(s *session) {
			for s.Write(make([]byte, 64<<10), CloseOnFull) == Written {
			}
		}
		if err := r.e.Adopt(server, &s.Conn, s, []byte("pending")); err != nil {
			t.Fatal(err)
		}
		close(release)
		await(t, whole)
	})
}

// Bytes that were not consumed are discarded when their connection ends.
func TestCloseWithUnconsumed(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		none := func(*session, []byte) int { return 0 }
		r := newRigOf(t, Config{Transport: transport}, "tcp", func() *session { return consumer(t, none) })
		var open []*session
		for range 20 {
			_, s := r.connect()
			open = append(open, s)
		}
		eventually(t, "all are kept", func() bool { return r.e.leftovers.n.Load() == 20 })
		for _, s := range open {
			s.Conn.Close()
			wantClosed(t, s, net.ErrClosed)
		}
		if n := r.e.leftovers.n.Load(); n != 0 {
			t.Errorf("%d buffers are in use", n)
		}
	})
}

// The memory for unconsumed bytes is bounded. When it is used up reads are small, and
// Data is called again at once.
func TestLeftoversAreBounded(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		var free atomic.Bool
		var longest atomic.Int64
		var got []byte
		whole := make(chan struct{})
		sent := bytes.Repeat([]byte("halves"), 4*smallRead/6)
		consume := func(s *session, b []byte) int {
			if b[0] == 'x' { // one of the busy
				if free.Load() {
					return 1
				}
				return 0
			}
			longest.Store(max(longest.Load(), int64(len(b))))
			n := (len(b) + 1) / 2
			if got = append(got, b[:n]...); len(got) == len(sent) {
				close(whole)
			}
			return n
		}
		r := newRigOf(t, Config{Transport: transport}, "tcp", func() *session { return consumer(t, consume) })
		const busy = 8
		var others [maxLeftovers - busy]Conn
		for i := range others {
			if !r.e.leftovers.keep(&others[i], []byte("x")) {
				t.Fatal("keep = false")
			}
			defer r.e.leftovers.drop(&others[i])
		}
		for range busy {
			r.connect()
		}
		eventually(t, "all buffers are in use", r.e.leftovers.full)
		must(t, r.dial(), string(sent))
		await(t, whole) // though nothing of it can be kept
		if n := r.e.leftovers.n.Load(); n != maxLeftovers || longest.Load() > smallRead || !bytes.Equal(got, sent) {
			t.Errorf("%d buffers are in use, reads of up to %d bytes", n, longest.Load())
		}
		free.Store(true)
		eventually(t, "the buffers are free", func() bool { return r.e.leftovers.n.Load() == maxLeftovers-busy })
	})
}

// Data that claims to have consumed more than it was given is a defect of its handler.
func TestConsumedTooMuch(t *testing.T) {
	for _, n := range []int{-1, 4} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d of 3 bytes: no panic", n)
				}
			}()
			s := consumer(t, func(*session, []byte) int { return n })
			s.ready.Store(true)
			s.Conn.handler = s
			s.Conn.data([]byte("abc"))
		}()
	}
}

// Open comes before Data, with access to the peer, and may end the connection.
func TestOpen(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for _, adopt := range []bool{false, true} {
			for _, end := range []bool{false, true} {
				greet := func(s *session) {
					if s.Cork(); end {
						s.Seal([]byte("bye"), false, CloseFlushed)
					} else if got := s.Write([]byte("hello "), CloseOnFull); !got.Delivered() {
						t.Errorf("Write = %v", got)
					}
				}
				create := func() *session {
					s := newSession(t, nil)
					if s.onOpen = greet; end {
						s.data = func(*session, []byte) { t.Error("Data after the end") }
					}
					return s
				}
				var nc net.Conn
				var s *session
				if adopt {
					var server net.Conn
					nc, server = accepted(t, network)
					e := newEngine(t, Config{Transport: transport})
					s = create()
					if err := e.Adopt(server, &s.Conn, s, []byte("pending ")); err != nil {
						t.Fatal(err)
					}
					if !s.ready.Load() {
						t.Error("Adopt returned before Open")
					}
				} else {
					r := newRigOf(t, Config{Transport: transport}, network, create)
					nc = r.dial()
					s = await(t, r.sessions)
				}
				if end {
					expect(t, nc, "bye")
					expectEOF(t, nc)
					wantClosed(t, s, net.ErrClosed)
					continue
				}
				expect(t, nc, "hello ") // before a byte was sent
				if adopt {
					expect(t, nc, "pending ")
				}
				must(t, nc, "echo")
				expect(t, nc, "echo")
			}
		}
	})
}
