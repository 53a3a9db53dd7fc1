package netpoll

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// kernelHolds reports whether the kernel still holds a socket with unsent bytes between
// two addresses of this machine, see proc_net_tcp(5). It splits few lines of a table that may
// have thousands, which takes the race detector long.
func kernelHolds(t testing.TB, from, to net.Addr) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	port := func(a net.Addr) []byte { return fmt.Appendf(nil, ":%04X", a.(*net.TCPAddr).Port) }
	local, remote := port(from), port(to)
	for line := range bytes.Lines(table) {
		if !bytes.Contains(line, remote) {
			continue
		}
		f := bytes.Fields(line)
		if len(f) > 4 && bytes.HasSuffix(f[1], local) && bytes.HasSuffix(f[2], remote) {
			return !bytes.HasPrefix(f[4], []byte("00000000:"))
		}
	}
	return false
}

// A peer that has stopped reading does not keep unsent bytes in the kernel for long
// after its connection was closed.
func TestUnsentBytesAreDiscarded(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the kernel's probes")
	}
	cert := certificate(t)
	for _, tt := range []struct {
		name      string
		transport Transport
		stall     time.Duration // between the last byte that the peer takes and the close
		end       func(s *session)
		tls       bool
	}{
		{"close", Epoll, 0, func(s *session) { s.Conn.Close() }, false},
		{"flushed", Epoll, time.Second, func(s *session) { s.Seal([]byte("bye"), true, CloseFlushed); s.Conn.Close() }, false},
		{"easygo", Easygo, 0, func(s *session) { s.Conn.Close() }, false},
		{"goroutine", Goroutine, 0, func(s *session) { s.Conn.Close() }, false},
		{"TLS", Epoll, 0, func(s *session) { s.Conn.Close() }, true},
		{"stalled for long", Epoll, 7 * time.Second, func(s *session) { s.Conn.Close() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, Config{Transport: tt.transport, QueueBytes: 8 << 20})
			client, server := accepted(t, "tcp")
			from, to := server.LocalAddr(), server.RemoteAddr()
			s := newSession(t, nil)
			nc, peer := server, client
			if tt.tls {
				nc = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
				peer = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
			}
			if err := e.Adopt(nc, &s.Conn, s, nil); err != nil {
				t.Fatal(err)
			}
			must(t, peer, "x")
			expect(t, peer, "x")
			for range 8 {
				if got := s.Write(make([]byte, 512<<10), CloseOnFull); !got.Delivered() {
					t.Fatalf("Write = %v", got)
				}
			}
			eventually(t, "the kernel holds bytes", func() bool { return kernelHolds(t, from, to) })
			time.Sleep(tt.stall)
			tt.end(s)
			await(t, s.closed)
			if reset := tt.stall > unsentTimeout; reset {
				if kernelHolds(t, from, to) {
					t.Error("a stalled connection is not reset at once")
				}
				if _, err := io.Copy(io.Discard, peer); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("its peer reads %v", err)
				}
				return
			}
			eventually(t, "the kernel has discarded them", func() bool {
				time.Sleep(unsentTimeout / 20) // the kernel makes the whole table each time
				return !kernelHolds(t, from, to)
			})
		})
	}
}

// A peer that is only slow gets all that was written before the close.
func TestUnsentBytesReachASlowPeer(t *testing.T) {
	e := newEngine(t, Config{QueueBytes: 8 << 20})
	client, server := accepted(t, "tcp")
	from, to := server.LocalAddr(), server.RemoteAddr()
	s := newSession(t, nil)
	if err := e.Adopt(server, &s.Conn, s, nil); err != nil {
		t.Fatal(err)
	}
	want := []byte{}
	for i := range byte(200) {
		msg := bytes.Repeat([]byte{i}, 4<<10)
		if s.Write(msg, CloseOnFull) != Written {
			break
		}
		want = append(want, msg...)
	}
	eventually(t, "the kernel holds bytes", func() bool { return kernelHolds(t, from, to) })
	s.DropMessages()
	s.Conn.Close()
	await(t, s.closed)
	got, err := io.ReadAll(client)
	if err != nil || !bytes.HasPrefix(got, want) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(want), err)
	}
}
