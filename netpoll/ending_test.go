package netpoll

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Seal with each ending, on an idle connection, a corked one, and one whose peer does not
// read.
func TestSeal(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for _, then := range []Ending{KeepOpen, HalfClose, CloseFlushed} {
			for _, state := range []string{"idle", "corked", "full"} {
				for _, discard := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s ending %d discard %v", state, then, discard), func(t *testing.T) {
						testSeal(t, transport, network, then, state, discard)
					})
				}
			}
		}
	})
}

func testSeal(t *testing.T, transport Transport, network string, then Ending, state string, discard bool) {
	data := make(chan string, 1)
	r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) { data <- string(b) })
	nc, s := r.connect()
	await(t, data)
	const queued = "queued"
	var want strings.Builder
	switch state {
	case "corked":
		s.Cork()
		s.Write([]byte(queued), CloseOnFull)
		if !discard {
			want.WriteString(queued)
		}
	case "full":
		// Messages that differ, so that the reader sees which are missing.
		for i, got := 0, Written; got == Written; i++ {
			msg := fmt.Sprintf("%0*d", sealMessage, i)
			if got = s.Write([]byte(msg), CloseOnFull); !got.Delivered() {
				t.Fatalf("Write = %v", got)
			}
			want.WriteString(msg)
		}
		s.Write([]byte(queued), CloseOnFull)
		if !discard {
			want.WriteString(queued)
		}
	}
	if !s.Seal([]byte("last"), discard, then) {
		t.Error("Seal = false")
	}
	if s.CanWrite() || s.Write([]byte("more"), Control) != Gone || s.Seal([]byte("later"), false, KeepOpen) {
		t.Error("it can be written to after Seal")
	}
	if state != "full" && s.has(flagQueued|flagCorked) {
		t.Error("an empty queue is left")
	}
	got := readLast(t, nc)
	whole, least := want.String(), want.Len()
	if state == "full" && discard {
		least -= sealMessage // unless it was begun, the one that was queued is dropped
	}
	if len(got) < least || !strings.HasPrefix(whole, got) || state == "full" && discard && len(got)%sealMessage != 0 {
		t.Errorf("got %d bytes, wrote %d", len(got), len(whole))
	}
	switch then {
	case KeepOpen, HalfClose:
		if then == HalfClose {
			expectEOF(t, nc)
		}
		must(t, nc, "answer") // reading goes on
		if got := await(t, data); got != "answer" {
			t.Errorf("read %q", got)
		}
		nc.Close()
		wantClosed(t, s, io.EOF)
	case CloseFlushed:
		expectEOF(t, nc)
		wantClosed(t, s, net.ErrClosed)
	}
}

const sealMessage = 4 << 10

// readLast reads to the message "last" and returns what comes before it.
func readLast(t *testing.T, nc net.Conn) string {
	t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for !bytes.HasSuffix(all, []byte("last")) {
		n, err := nc.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(all), err)
		}
		all = append(all, buf[:n]...)
	}
	return string(all[:len(all)-len("last")])
}

// An ending can be raised by a later Seal, and by Close.
func TestSealAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
		nc, s := r.connect()
		if !s.Seal([]byte("bye"), false, KeepOpen) {
			t.Error("first Seal = false")
		}
		expect(t, nc, "bye")
		if s.Seal([]byte("again"), false, HalfClose) {
			t.Error("second Seal = true")
		}
		expectEOF(t, nc)
		s.Seal(nil, false, CloseFlushed)
		wantClosed(t, s, net.ErrClosed)

		nc, s = r.connect()
		s.Seal([]byte("bye"), false, KeepOpen)
		s.Conn.Close()
		wantClosed(t, s, net.ErrClosed)
		expect(t, nc, "bye")
		expectEOF(t, nc)
	})
}

func TestSealInData(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			s.Cork()
			s.WriteBorrowed(b, CloseOnFull)
			s.Seal([]byte("bye"), false, CloseFlushed)
		})
		nc := r.dial()
		must(t, nc, "x")
		expect(t, nc, "xbye")
		expectEOF(t, nc)
		wantClosed(t, <-r.sessions, net.ErrClosed)
	})
}

// A Conn that is not open cannot be written to: its descriptor is still 0. If it is
// closed before it is opened, it closes as soon as it is opened.
func TestUseBeforeOpen(t *testing.T) {
	for name, end := range map[string]func(c *Conn){
		"Close": (*Conn).Close,
		"Seal":  func(c *Conn) { c.Seal([]byte("x"), true, CloseFlushed) },
	} {
		everywhere(t, func(t *testing.T, transport Transport, network string) {
			t.Run(name, func(t *testing.T) {
				e, err := New(Config{Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				ln := listen(t, network)
				r := &rig{TB: t, e: e, network: network, addr: ln.Addr().String()}
				s := newSession(t, nil)
				e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
					if got := s.Write([]byte("to descriptor 0?"), CloseOnFull); got != Gone {
						t.Errorf("Write = %v, want Gone", got)
					}
					if s.RemoteAddr().IsValid() || s.Queued() != 0 {
						t.Error("it has an address or a queue")
					}
					s.Cork()
					s.DropMessages()
					s.Uncork()
					end(&s.Conn)
					return &s.Conn, s
				})
				nc := r.dial()
				wantClosed(t, s, net.ErrClosed)
				expectEOF(t, nc)
			})
		})
	}
}

// The peer's address is known at Release, also after a reset, when getpeername has
// forgotten it, and unknown at Close.
func TestAddressAtRelease(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for name, end := range map[string]func(nc net.Conn, s *session){
			"end of stream": func(nc net.Conn, _ *session) { nc.Close() },
			"Close":         func(_ net.Conn, s *session) { s.Conn.Close() },
			"reset": func(nc net.Conn, _ *session) {
				if tcp, ok := nc.(*net.TCPConn); ok {
					tcp.SetLinger(0)
				}
				nc.Close()
			},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, Config{Transport: transport}, network, nil)
				nc, s := r.connect()
				end(nc, s)
				await(t, s.closed)
				var want netip.AddrPort
				if network == "tcp" {
					want = nc.LocalAddr().(*net.TCPAddr).AddrPort()
				}
				if s.peer != want {
					t.Errorf("address is %v at Release, want %v", s.peer, want)
				}
				if s.RemoteAddr().IsValid() {
					t.Errorf("address is %v after Close", s.RemoteAddr())
				}
			})
		}
	})
}
