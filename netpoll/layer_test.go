package netpoll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// frames is a Layer for tests: each record is two bytes of length, then the plaintext,
// inverted. A length of 0 ends the stream; one of 0xffff is a violation.
type frames struct {
	held     []byte
	over     error
	released atomic.Bool
}

var errViolation = errors.New("violation")

func invert(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, ^c)
	}
	return dst
}

func (f *frames) Held(b []byte) (n, room int) { n = copy(b, f.held); return n, len(b) - n }
func (f *frames) Pending() bool               { return f.over != nil }
func (f *frames) Release()                    { f.released.Store(true) }

func (f *frames) Open(b []byte) (plain []byte, err error) {
	w := 0
	for f.over == nil {
		rest := b[w:]
		if len(rest) < 2 {
			f.held = bytes.Clone(rest)
			return plain, nil
		}
		n := int(binary.BigEndian.Uint16(rest))
		switch {
		case n == 0:
			f.over = io.EOF
		case n == 0xffff:
			f.over = errViolation
		case len(rest) < 2+n:
			f.held = bytes.Clone(rest)
			return plain, nil
		default:
			plain = invert(plain, rest[2:2+n])
			w += 2 + n
		}
	}
	return plain, f.over
}

func (f *frames) Seal(dst, b []byte) []byte {
	if len(b) > MaxSeal {
		panic("too long")
	}
	return invert(binary.BigEndian.AppendUint16(dst, uint16(len(b))), b)
}

func (f *frames) End(dst []byte, why error) []byte {
	if why == errViolation {
		return append(dst, 0xff, 0xff)
	}
	return append(dst, 0, 0)
}

// layered runs a test for each poller, with an engine whose connections have a Layer.
func layered(t *testing.T, data func(s *session, b []byte), test func(t *testing.T, r *rig)) {
	for _, transport := range transports {
		if transport == Goroutine {
			continue
		}
		t.Run(transport.String(), func(t *testing.T) {
			test(t, newRigOf(t, Config{Transport: transport}, "tcp", func() *session {
				s := newSession(t, data)
				s.onOpen = func(s *session) {
					if err := s.Secure(new(frames), new(Via)); err != nil {
						t.Error(err)
					}
				}
				return s
			}))
		})
	}
}

// opened reads plaintext of a stream of frames until its end.
func opened(t testing.TB, r io.Reader) (plain []byte, end error) {
	t.Helper()
	f := new(frames)
	buf := make([]byte, 64<<10)
	for {
		held, _ := f.Held(buf)
		n, err := r.Read(buf[held:])
		got, over := f.Open(buf[:held+n])
		plain = append(plain, got...)
		if over != nil {
			return plain, over
		}
		if err != nil {
			return plain, err
		}
	}
}

// Echo through a layer, in records that are cut anywhere; then the end of the stream.
func TestLayerEcho(t *testing.T) {
	layered(t, nil, func(t *testing.T, r *rig) {
		nc := r.dial()
		text := strings.Repeat("0123456789", 30_000)
		go func() {
			var wire []byte
			f := new(frames)
			for i, n := 0, 1; i < len(text); n = n%9000 + 37 {
				end := min(len(text), i+n)
				wire = f.Seal(wire, []byte(text[i:end]))
				i = end
			}
			for i := 0; i < len(wire); i += 3001 {
				nc.Write(wire[i:min(len(wire), i+3001)])
			}
		}()
		f := new(frames)
		buf := make([]byte, 64<<10)
		var got []byte
		for len(got) < len(text) {
			held, _ := f.Held(buf)
			n, err := nc.Read(buf[held:])
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			plain, _ := f.Open(buf[:held+n])
			got = append(got, plain...)
		}
		if string(got) != text {
			t.Fatal("the echo differs")
		}
		must(t, nc, "\x00\x00")
		if rest, end := opened(t, nc); len(rest) > 0 || end != io.EOF {
			t.Errorf("%d bytes, %v", len(rest), end)
		}
		s := <-r.sessions
		wantClosed(t, s, io.EOF)
		if !s.Layer().(*frames).released.Load() {
			t.Error("the layer is not released")
		}
		if st := r.e.Stats(); st.Received != int64(len(text)) || st.Sent != int64(len(text)) || st.Queued != 0 {
			t.Errorf("received %d, sent %d, queued %d, want %d, %d, 0", st.Received, st.Sent, st.Queued, len(text), len(text))
		}
	})
}

// How a layered connection ends: the error of Close, and what the peer reads.
func TestLayerEndings(t *testing.T) {
	for _, tt := range []struct {
		name string
		wire string
		half bool
		want error // of Close
		read error // the end of the stream for the peer
	}{
		{"the peer ends the stream", "\x00\x00", false, io.EOF, io.EOF},
		{"the peer only shuts down", "", true, io.ErrUnexpectedEOF, io.EOF},
		{"in the middle of a record", "\x00\x05a", true, io.ErrUnexpectedEOF, io.EOF},
		{"a violation", "\xff\xff", false, errViolation, errViolation},
	} {
		t.Run(tt.name, func(t *testing.T) {
			layered(t, ignore, func(t *testing.T, r *rig) {
				nc := r.dial()
				must(t, nc, tt.wire)
				if tt.half {
					nc.(*net.TCPConn).CloseWrite()
				}
				if rest, end := opened(t, nc); len(rest) > 0 || end != tt.read {
					t.Errorf("the peer reads %q, %v, want %v", rest, end, tt.read)
				}
				wantClosed(t, <-r.sessions, tt.want)
			})
		})
	}
}

// Every ending of Seal and Close tells the peer, after what is queued, and once.
func TestLayerSeal(t *testing.T) {
	for name, end := range map[string]func(s *session){
		"close":         func(s *session) { s.Conn.Close() },
		"close flushed": func(s *session) { s.Seal(nil, false, CloseFlushed) },
		"half close":    func(s *session) { s.Seal(nil, false, HalfClose) },
		"raised":        func(s *session) { s.Seal(nil, false, KeepOpen); s.Seal(nil, false, HalfClose) },
	} {
		t.Run(name, func(t *testing.T) {
			layered(t, func(s *session, b []byte) {
				s.Cork()
				s.WriteBorrowed([]byte("one "), Control)
				s.WriteBorrowed([]byte("two"), Control)
				s.Uncork()
				end(s)
			}, func(t *testing.T, r *rig) {
				nc := r.dial()
				must(t, nc, "\x00\x01a")
				buf := make([]byte, 100)
				n, err := io.ReadFull(nc, buf[:2+7+2])
				if want := string(new(frames).Seal(nil, []byte("one two"))) + "\x00\x00"; string(buf[:n]) != want || err != nil {
					t.Errorf("the peer reads %q, %v, want %q", buf[:n], err, want)
				}
				nc.(*net.TCPConn).CloseWrite()
				expectEOF(t, nc)
			})
		})
	}
}

// A detached connection goes on through its layer.
func TestLayerDetach(t *testing.T) {
	conns := make(chan net.Conn, 1)
	layered(t, func(s *session, b []byte) {
		nc, err := s.Detach()
		if err != nil {
			s.t.Error(err)
		}
		conns <- nc
	}, func(t *testing.T, r *rig) {
		nc := r.dial()
		f := new(frames)
		wire := f.Seal(f.Seal(nil, []byte("first")), []byte("second"))
		must(t, nc, string(wire[:7+3])) // the second record is cut
		detached := await(t, conns)
		must(t, nc, string(wire[7+3:]))
		expect(t, detached, "second")
		long := strings.Repeat("answer", 10_000)
		go func() {
			io.WriteString(detached, long)
			detached.Close()
		}()
		if got, end := opened(t, nc); string(got) != long || end != io.EOF {
			t.Errorf("%d bytes, %v", len(got), end)
		}
		if l := LayerOf(detached); l == nil {
			t.Error("no layer")
		}
	})
}

// Secure fails for these connections.
func TestSecureErrors(t *testing.T) {
	r := newRigOf(t, Config{ReadBuffer: 4 << 10}, "tcp", func() *session { return newSession(t, ignore) })
	_, s := r.connect()
	if s.stream() != nil {
		t.Skip("this system has no poller")
	}
	if err := s.Secure(new(frames), new(Via)); err == nil || !strings.Contains(err.Error(), "Config.ReadBuffer is 4096") {
		t.Errorf("a short buffer: %v", err)
	}
	r = newRig(t, Config{Transport: Goroutine}, "tcp", ignore)
	_, s = r.connect()
	if err := s.Secure(new(frames), new(Via)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a connection with a goroutine: %v", err)
	}
}
