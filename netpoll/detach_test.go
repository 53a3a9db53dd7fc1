package netpoll

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestDetach(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		out := make(chan net.Conn, 1)
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			if b[0] != 'd' {
				return
			}
			s.Cork()
			s.Uncork()
			s.Cork() // an empty corked queue does not prevent Detach
			nc, err := s.Detach()
			if err != nil {
				t.Errorf("Detach: %v", err)
				return
			}
			nc.SetDeadline(time.Now().Add(patience))
			out <- nc
		})
		client, s := r.connect()
		before := openDescriptors()
		must(t, client, "d")
		nc := await(t, out)
		defer nc.Close()
		if after := openDescriptors(); after != before {
			t.Errorf("%d descriptors more than before", after-before)
		}
		if n := r.e.Opened(); n != 0 {
			t.Errorf("the engine still has %d", n)
		}
		// The engine has closed it, the program has not.
		if _, err := s.Detach(); err == nil {
			t.Error("detached twice")
		}
		if got := s.Write([]byte("x"), Control); got != Gone {
			t.Errorf("Write = %v", got)
		}
		s.Conn.Close()
		s.Seal([]byte("x"), false, CloseFlushed)
		must(t, client, "to the program")
		expect(t, nc, "to the program")
		must(t, nc, "to the peer")
		expect(t, client, "to the peer")
		client.Close()
		expectEOF(t, nc)
		other, _ := r.connect() // by now the engine has seen all events there were
		if n := r.e.Stats().Stale; n != 0 {
			t.Errorf("the poller still watches it: %d events", n)
		}
		other.Close()
		if s.ended.Load() {
			t.Error("Handler.Close was called")
		}
	})
}

func TestDetachInAdopt(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		e := newEngine(t, Config{Transport: transport})
		client, server := accepted(t, network)
		var nc net.Conn
		s := newSession(t, func(s *session, b []byte) {
			var err error
			if nc, err = s.Detach(); err != nil {
				t.Errorf("Detach: %v", err)
			}
		})
		if err := e.Adopt(server, &s.Conn, s, []byte("x")); err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(patience))
		if err := e.Close(); err != nil { // has nothing to wait for
			t.Fatal(err)
		}
		must(t, client, "hello")
		expect(t, nc, "hello")
	})
}

// A connection that cannot be detached is unchanged.
func TestDetachFails(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for name, prepare := range map[string]func(s *session){
			"unsent bytes": func(s *session) { s.Cork(); s.WriteBorrowed([]byte("unsent "), Control) },
			"closed":       func(s *session) { s.Conn.Close() },
			"sealed":       func(s *session) { s.Seal([]byte("sealed"), false, HalfClose) },
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
					if b[0] != 'd' {
						return
					}
					prepare(s)
					if nc, err := s.Detach(); nc != nil || !errors.Is(err, ErrDetached) {
						t.Errorf("Detach = %v, %v", nc, err)
					}
					s.WriteBorrowed(b, CloseOnFull)
				})
				client, s := r.connect()
				before := openDescriptors()
				must(t, client, "d")
				switch name {
				case "unsent bytes":
					expect(t, client, "unsent d")
				case "closed":
					expectEOF(t, client)
				case "sealed":
					expect(t, client, "sealed")
					expectEOF(t, client)
				}
				client.Close()
				await(t, s.closed)
				if after := openDescriptors(); after != before-2 {
					t.Errorf("%d descriptors more than before", after-before+2)
				}
			})
		}
	})
}
