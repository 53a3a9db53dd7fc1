package load

import (
	"bytes"
	"testing"
	"time"
)

// TestUnread receives the three stored messages of user 2, which come with the handshake.
func TestUnread(t *testing.T) {
	stored := func(target, seq uint32) []byte { return text(Message{Kind: KindUser, Target: target, Seq: seq}, 64) }
	for name, tt := range map[string]struct {
		every  int
		frames [][]byte
		faults Faults
		unread int
	}{
		"all":                             {0, [][]byte{stored(2, 0), stored(2, 1), stored(2, 2)}, Faults{}, 3},
		"of every second":                 {2, [][]byte{stored(2, 0), stored(2, 1), stored(2, 2)}, Faults{}, 3},
		"one twice":                       {1, [][]byte{stored(2, 0), stored(2, 0), stored(2, 1), stored(2, 2)}, Faults{Duplicated: 1}, 3},
		"another user's":                  {1, [][]byte{stored(2, 0), stored(5, 1), stored(2, 1), stored(2, 2)}, Faults{Foreign: 1}, 3},
		"one too few":                     {1, [][]byte{stored(2, 0), stored(2, 1)}, Faults{Lost: 1}, 2},
		"none":                            {1, nil, Faults{Lost: 3}, 0},
		"corrupt":                         {1, [][]byte{rawFrame(0x81, []byte("x")), stored(2, 0), stored(2, 1), stored(2, 2)}, Faults{Corrupt: 1}, 3},
		"one that is not the user's turn": {3, [][]byte{stored(2, 0)}, Faults{Foreign: 1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLiar(t, func(s *liar) { s.greet = func(a string) string { return a + string(bytes.Join(tt.frames, nil)) } })
			c := newClient(t, s)
			limit := 10 * time.Second
			if tt.faults.Lost > 0 {
				limit = 100 * time.Millisecond
			}
			r := c.Dial(DialPlan{Count: 1, First: 2, Window: 1, Path: "/", Unread: 3, Every: tt.every, Limit: limit})
			if tt.every == 3 { // Dial expects nothing, so it need not wait for the message
				c.Run(func() bool { return c.faults.Total() > 0 })
			}
			f := c.Faults()
			f.First = nil
			if r.Opened != 1 || r.Unread != tt.unread || !equal(f, tt.faults) {
				t.Errorf("%d opened, %d unread, faults %+v; want %d, %+v", r.Opened, r.Unread, f, tt.unread, tt.faults)
			}
			latencies := int64(tt.unread / 3)
			if tt.every == 3 {
				latencies = 1
			}
			if got := r.Latency.TotalCount(); got != latencies {
				t.Errorf("%d latencies, want %d", got, latencies)
			}
		})
	}
}
