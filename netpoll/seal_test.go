package netpoll

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// roomy configures a queue that holds what overfill writes.
func roomy(transport Transport) Config { return Config{Transport: transport, QueueBytes: 1 << 20} }

// overfill writes twice what the buffers of both sockets hold, so that the queue is not
// empty while the peer does not read, and returns all that it wrote.
func overfill(t testing.TB, s *session) string {
	t.Helper()
	var all strings.Builder
	for i := range (512 << 10) / sealMessage {
		msg := fmt.Sprintf("%0*d", sealMessage, i)
		if got := s.Write([]byte(msg), CloseOnFull); !got.Delivered() {
			t.Fatalf("Write = %v", got)
		}
		all.WriteString(msg)
	}
	return all.String()
}

func closeWrite(t testing.TB, nc net.Conn) {
	t.Helper()
	if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// A peer that shuts down its sending side while sealed bytes are unsent receives them all,
// and then the end of the stream, whatever ending they were sealed with.
func TestSealedBytesAfterPeersEnd(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for _, then := range []Ending{KeepOpen, HalfClose, CloseFlushed} {
			t.Run(fmt.Sprintf("ending %d", then), func(t *testing.T) {
				r := newRig(t, roomy(transport), network, ignore)
				nc, s := r.connect()
				all := overfill(t, s)
				s.Seal([]byte("last"), false, then)
				closeWrite(t, nc)
				eventually(t, "the end was seen", func() bool { return s.has(flagPeerEnded) })
				if got := readLast(t, nc); got != all {
					t.Errorf("%d bytes of %d came", len(got), len(all))
				}
				expectEOF(t, nc)
				wantClosed(t, s, io.EOF)
			})
		}
	})
}

// The connection may be sealed in the last Data before the end of the peer's stream.
func TestSealedInLastData(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		var all string
		r := newRig(t, roomy(transport), network, func(s *session, b []byte) {
			if b[0] != 'x' {
				s.Seal([]byte("last"), false, CloseFlushed)
			}
		})
		nc, s := r.connect()
		all = overfill(t, s)
		must(t, nc, "close")
		closeWrite(t, nc)
		eventually(t, "the end was seen", func() bool { return s.has(flagPeerEnded) })
		if got := readLast(t, nc); got != all {
			t.Errorf("%d bytes of %d came", len(got), len(all))
		}
		expectEOF(t, nc)
		wantClosed(t, s, io.EOF)
	})
}

// Close limits how long a sealed connection waits.
func TestSealedUntilClose(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, roomy(transport), network, ignore)
		nc, s := r.connect()
		overfill(t, s)
		s.Seal([]byte("last"), false, KeepOpen)
		closeWrite(t, nc)
		eventually(t, "the end was seen", func() bool { return s.has(flagPeerEnded) })
		select {
		case err := <-s.closed:
			t.Fatalf("Close(%v) before it was closed", err)
		default:
		}
		s.Conn.Close()
		wantClosed(t, s, io.EOF)
	})
}

// Without Seal the end of the peer's stream ends the connection and drops its queue.
func TestPeersEndDropsQueue(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, roomy(transport), network, ignore)
		nc, s := r.connect()
		all := overfill(t, s)
		closeWrite(t, nc)
		wantClosed(t, s, io.EOF)
		got, _ := io.ReadAll(nc)
		if !strings.HasPrefix(all, string(got)) || len(got) == len(all) {
			t.Errorf("%d bytes of %d came", len(got), len(all))
		}
		eventually(t, "what was dropped is counted", func() bool { return r.e.Stats().Abandoned > 0 })
	})
}
