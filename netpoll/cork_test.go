package netpoll

import (
	"strings"
	"testing"
)

// Corked answers leave in one write: the peer, over a Unix socket or TCP on loopback,
// receives them all at once.
func TestCorkedWritesLeaveTogether(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for _, uncork := range []bool{true, false} { // or the end of the turn does it
			r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
				s.Cork()
				s.Cork()
				for range 100 {
					if got := s.WriteBorrowed([]byte("0123456789"), CloseOnFull); got != Queued {
						t.Errorf("Write = %v, want Queued", got)
					}
				}
				if n := s.Queued(); n != 1000 {
					t.Errorf("%d bytes are queued, want 1000", n)
				}
				if uncork {
					s.Uncork()
					if n := s.Queued(); n != 0 {
						t.Errorf("%d bytes are queued after Uncork", n)
					}
					s.Uncork()
				}
			})
			nc := r.dial()
			must(t, nc, "x")
			got := make([]byte, 2000)
			if n, err := nc.Read(got); n != 1000 || err != nil {
				t.Errorf("the first read has %d bytes, %v; want 1000", n, err)
			}
			if s := <-r.sessions; s.Queued() != 0 {
				t.Error("a queue is left")
			}
		}
	})
}

// A corked connection writes when it has gathered corkLimit bytes, and in order.
func TestCorkIsBounded(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		const bound = 64 << 10
		long := strings.Repeat("l", 4*bound) // would never fit the queue
		r := newRig(t, Config{Transport: transport, QueueBytes: bound}, network, func(s *session, b []byte) {
			s.Cork()
			for range 20 {
				for _, text := range []string{"short", strings.Repeat("m", 3000), "short", long} {
					// The socket may be full, although the peer reads all the time.
					for !s.WriteBorrowed([]byte(text), CloseOnFull).Delivered() {
						if !s.CanWrite() {
							t.Error("gone")
							return
						}
						s.Uncork()
						s.Cork()
					}
					if n := s.Queued(); n > bound+len(long) {
						t.Errorf("%d bytes are queued", n)
					}
				}
			}
		})
		nc := r.dial()
		must(t, nc, "x")
		expect(t, nc, strings.Repeat("short"+strings.Repeat("m", 3000)+"short"+long, 20))
	})
}

// A corked connection accepts a long message at once, because its queue is empty.
func TestCorkedLongMessage(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		text := strings.Repeat("l", 100_000)
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			s.Cork()
			s.Write([]byte("first"), Control)
			if got := s.Write([]byte(text), CloseOnFull); !got.Delivered() {
				t.Errorf("Write = %v", got)
			}
			s.Write([]byte("last"), Control)
		})
		nc := r.dial()
		must(t, nc, "x")
		expect(t, nc, "first"+text+"last")
	})
}

func TestDiscardCorked(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			s.Cork()
			s.WriteBorrowed([]byte("never "), Control)
			s.Write([]byte("never "), CloseOnFull)
			s.Seal([]byte("sorry"), true, HalfClose)
		})
		nc := r.dial()
		must(t, nc, "x")
		expect(t, nc, "sorry")
		expectEOF(t, nc)
		if st := r.e.Stats(); st.Abandoned != 2 || st.Dropped != 0 {
			t.Errorf("%d abandoned, want 2, %d dropped", st.Abandoned, st.Dropped)
		}
	})
}
