package netpoll

import (
	"io"
	"strings"
	"testing"
)

// TestTraffic: Stats counts the bytes that were read and written, and those in outbound
// queues, whatever becomes of them. The harness checks that none are left at the end.
func TestTraffic(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
			s.Cork() // writes that are corked pass through the queue
			for range b {
				s.WriteBorrowed([]byte("ab"), CloseOnFull)
			}
		})
		const long = 100_000
		nc, _ := r.connect() // one byte, answered with two
		must(t, nc, strings.Repeat("x", long-1))
		expect(t, nc, strings.Repeat("ab", long))
		eventually(t, "bytes are counted", func() bool {
			st := r.e.Stats()
			return st.Received == long && st.Sent == 2*long && st.Queued == 0
		})
		for _, test := range []struct {
			name   string
			policy Policy
			want   Outcome // of the last message
			end    func(s *session)
			left   bool // the peer gets what is queued
		}{
			{"sent", CloseOnFull, Full, func(s *session) { s.Seal(nil, false, CloseFlushed) }, true},
			{"sent, some dropped", DropOldest, Queued, func(s *session) { s.Seal(nil, false, CloseFlushed) }, true},
			{"discarded by Seal", CloseOnFull, Full, func(s *session) { s.Seal(nil, true, CloseFlushed) }, true},
			{"discarded by DropMessages", CloseOnFull, Full, func(s *session) { s.DropMessages(); s.Seal(nil, false, CloseFlushed) }, true},
			{"discarded by Close", CloseOnFull, Full, func(s *session) { s.Conn.Close() }, false},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := newRig(t, Config{Transport: transport}, network, ignore)
				nc, s := r.connect()
				if n := fill(s, test.policy, 20<<10); n[test.want] == 0 {
					t.Fatalf("outcomes %v", n)
				}
				if n, queued := r.e.Stats().Queued, s.Queued(); n != int64(queued) || n == 0 {
					t.Errorf("Stats.Queued is %d, the only connection has %d", n, queued)
				}
				test.end(s)
				got, err := io.Copy(io.Discard, nc)
				await(t, s.closed)
				st := r.e.Stats()
				if st.Received != 1 || test.left && (err != nil || st.Sent != got) || st.Sent < got {
					t.Errorf("Stats has %d received and %d sent, the peer got %d, %v", st.Received, st.Sent, got, err)
				}
			})
		}
	})
}
