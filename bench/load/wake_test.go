package load

import (
	"testing"
	"time"
)

// A connection that wakes may have missed messages, or have been closed, but what it reads is in order and complete.
func TestWake(t *testing.T) {
	all := func(seq uint32) []byte { return text(Message{Kind: KindBroadcast, Seq: seq}, 64) }
	half := all(2)[:30]
	tests := []struct {
		name   string
		kept   [][]byte // messages that the server kept for the stuck connection
		closed bool
		faults Faults
	}{
		{"all of it", [][]byte{all(0), all(1), all(2)}, false, Faults{}},
		{"the newest", [][]byte{all(2)}, false, Faults{}},
		{"nothing", nil, false, Faults{}},
		{"with a gap", [][]byte{all(0), all(2)}, false, Faults{}},
		{"given up", [][]byte{all(0)}, true, Faults{}},
		{"given up in a frame", [][]byte{all(0), half}, true, Faults{}},
		{"in another order", [][]byte{all(1), all(0), all(2)}, false, Faults{Reordered: 1}},
		{"twice", [][]byte{all(1), all(1)}, false, Faults{Reordered: 1}},
		{"cut in a frame", [][]byte{all(0), half}, false, Faults{Corrupt: 1, Protocol: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newLiar(t)
			c := newClient(t, s)
			c.Dial(DialPlan{Count: 3, Window: 1, Path: "/ws", Limit: 5 * time.Second})
			if n := c.Stick(3); n != 1 || c.Live() != 2 {
				t.Fatalf("%d stuck, %d live", n, c.Live())
			}
			arrived := 0
			r := c.Receive(ReceivePlan{Size: 64}, func(Arrival) { arrived++ })
			s.push(0, tt.kept...)
			for seq := range uint32(3) {
				s.push(1, all(seq))
				s.push(2, all(seq))
			}
			c.Run(func() bool { return arrived == 3 })
			if got := r.Finish(3); got.Received != 6 {
				t.Errorf("%d received while one was stuck", got.Received)
			}

			arrived = 0
			r = c.Receive(ReceivePlan{Size: 64, Broadcast: 3, Wake: true}, func(a Arrival) {
				if a.Seq != 3 {
					t.Errorf("broadcast %d arrived", a.Seq)
				}
				arrived++
			})
			want := 3
			if tt.closed {
				want = 2
				s.conns[0].Close()
			} else {
				s.push(0, all(3))
			}
			s.push(1, all(3))
			s.push(2, all(3))
			c.Run(func() bool { return arrived == 1 && c.Live() == want || c.faults.Protocol > 0 })
			got := r.Finish(4)
			f := c.Faults()
			f.First = nil
			if !equal(f, tt.faults) {
				t.Errorf("faults %+v; want %+v", f, tt.faults)
			}
			if f.Protocol == 0 && got.Received != want {
				t.Errorf("%d received; want %d", got.Received, want)
			}
		})
	}
}

// A broadcast that is pending when the phase ends is not a fault.
func TestFinishUnderWay(t *testing.T) {
	s := newLiar(t)
	c := newClient(t, s)
	c.Dial(DialPlan{Count: 2, Window: 1, Path: "/ws", Limit: 5 * time.Second})
	r := c.Receive(ReceivePlan{Size: 64}, func(Arrival) {})
	s.push(0, text(Message{Kind: KindBroadcast, Seq: 0}, 64), text(Message{Kind: KindBroadcast, Seq: 1}, 64))
	s.push(1, text(Message{Kind: KindBroadcast, Seq: 0}, 64))
	c.Run(func() bool { return r.Received() == 3 })
	r.Finish(1)
	if f := c.Faults(); f.Err() != nil {
		t.Error(f.Err())
	}
}
