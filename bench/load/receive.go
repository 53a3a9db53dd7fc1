package load

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// An Arrival tells that a broadcast has reached every connection of this Client.
type Arrival struct {
	Seq uint32 `json:"seq"`
	At  int64  `json:"at"` // when the last one read it, on the clock of Now
}

// A ReceivePlan says what to expect from the server.
type ReceivePlan struct {
	Broadcast uint32 `json:"broadcast"` // the number of the next broadcast
	Size      int    `json:"size"`      // bytes per message; 0 means any
}

// A ReceiveResult is what came.
type ReceiveResult struct {
	Messages int                     `json:"messages"`
	Latency  *hdrhistogram.Histogram `json:"-"` // from the moment in the message to its being read, nanoseconds
}

type receiving struct {
	c       *Client
	plan    ReceivePlan
	arrive  func(Arrival)
	reached map[uint32]int // broadcasts that are under way: how many have them
	counted int
	latency *hdrhistogram.Histogram
}

// Receive takes what the server pushes until done reports true. arrive is called for each broadcast that has
// reached everybody. expect, asked at the end, is the number of the broadcast that would come next: whoever
// has not got as far has lost messages.
func (c *Client) Receive(plan ReceivePlan, arrive func(Arrival), done func() bool, expect func() uint32) ReceiveResult {
	r := &receiving{c: c, plan: plan, arrive: arrive, reached: map[uint32]int{}, latency: newHistogram()}
	for i := range c.conns {
		c.conns[i].all.start(plan.Broadcast)
	}
	c.phase = r
	c.run(never, done)
	want := expect()
	for i := range c.conns {
		if k := &c.conns[i]; k.fd >= 0 && k.all.next != want {
			missing := int(int32(want - k.all.next))
			c.faults.count(&c.faults.Lost, "user %d: broadcasts %d to %d never came", k.user, k.all.next, want-1)
			c.faults.Lost += missing - 1
		}
	}
	c.phase = resting{c}
	return ReceiveResult{Messages: r.counted, Latency: r.latency}
}

func (r *receiving) opened(*conn) {}

func (r *receiving) ended(k *conn, why string) {
	r.c.faults.count(&r.c.faults.Closed, "user %d: %s", k.user, why)
}

func (r *receiving) message(k *conn, _ byte, p []byte) {
	now := Now()
	f := &r.c.faults
	m, ok := Parse(p)
	if !ok || r.plan.Size != 0 && len(p) != r.plan.Size && len(p) != r.plan.Size+1 {
		f.count(&f.Corrupt, "user %d: %d bytes pushed: %.60q", k.user, len(p), p)
		return
	}
	switch m.Kind {
	case KindBroadcast:
		if !k.all.check(m.Seq, f, func() string { return fmt.Sprintf("broadcast to user %d", k.user) }) {
			return
		}
		n := r.reached[m.Seq] + 1
		if n < r.c.live {
			r.reached[m.Seq] = n
		} else {
			delete(r.reached, m.Seq)
			r.arrive(Arrival{m.Seq, now})
		}
	case KindUser:
		if m.Target != k.user {
			f.count(&f.Foreign, "user %d: a push to user %d", k.user, m.Target)
			return
		}
		if !k.own.check(m.Seq, f, func() string { return fmt.Sprintf("push to user %d", k.user) }) {
			return
		}
	default:
		f.count(&f.Foreign, "user %d: a message of kind %q", k.user, m.Kind)
		return
	}
	r.counted++
	record(r.latency, now-m.At)
}
