package load

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// An Arrival means that a broadcast has reached every connection of this Client.
type Arrival struct {
	Seq uint32 `json:"seq"`
	At  int64  `json:"at"` // when the last one read it, on the clock of Now
}

// A ReceivePlan says what to expect from the server.
type ReceivePlan struct {
	Broadcast uint32 `json:"broadcast"` // the number of the next broadcast
	Size      int    `json:"size"`      // bytes per message; 0 means any
	From      int64  `json:"from"`      // messages sent before are checked, but not measured
	Users     bool   `json:"users"`     // only pushes to users are measured
	Wake      bool   `json:"wake"`      // stuck connections read again
}

// A ReceiveResult is the result of a ReceivePlan.
type ReceiveResult struct {
	Received int                     `json:"received"` // all messages
	Measured int                     `json:"measured"` // messages sent after the plan's From
	Latency  *hdrhistogram.Histogram `json:"-"`        // from the time in the message until it was read, nanoseconds
}

// A Receiver is the phase in which the server pushes. Broadcasts are numbered from the plan's first one; pushes to a user
// or topic are numbered from 0 over the life of a connection.
type Receiver struct {
	c       *Client
	plan    ReceivePlan
	arrive  func(Arrival)
	reached map[uint32]int // pending broadcasts: how many connections received them
	result  ReceiveResult
}

// Receive starts to receive pushes, during Run. It calls arrive for each broadcast that has reached every connection.
func (c *Client) Receive(plan ReceivePlan, arrive func(Arrival)) *Receiver {
	r := &Receiver{c: c, plan: plan, arrive: arrive, reached: map[uint32]int{}}
	r.result.Latency = newHistogram()
	for i := range c.conns {
		if k := &c.conns[i]; !k.stuck && !k.woken {
			k.all = startingAt(plan.Broadcast)
		}
	}
	c.phase = r
	if plan.Wake {
		c.wake()
	}
	return r
}

// Received returns the number of received messages.
func (r *Receiver) Received() int { return r.result.Received }

// Finish ends the phase. next is the number of the next broadcast: a connection that has not received all before it has
// lost messages. A connection beyond it has received a broadcast that is still pending.
func (r *Receiver) Finish(next uint32) ReceiveResult {
	f := &r.c.faults
	for i := range r.c.conns {
		k := &r.c.conns[i]
		if missing := int(int32(next - k.all.next)); k.fd >= 0 && !k.stuck && missing > 0 {
			f.count(&f.Lost, "user %d: broadcasts %d to %d never came", k.user, k.all.next, next-1)
			f.Lost += missing - 1
		}
	}
	r.c.phase = resting{r.c}
	return r.result
}

func (r *Receiver) opened(*conn) {}

func (r *Receiver) ended(k *conn, why string) {
	if !k.woken { // a server may close a connection that does not read
		r.c.faults.count(&r.c.faults.Closed, "user %d: %s", k.user, why)
		return
	}
	for seq, n := range r.reached { // one receiver less
		if n >= r.c.live {
			r.reachedAll(seq, Now())
		}
	}
}

func (r *Receiver) message(k *conn, _ byte, p []byte) {
	now := Now()
	f := &r.c.faults
	m, ok := Parse(p)
	if size := r.plan.Size; !ok || size != 0 && len(p) != size && len(p) != size+1 {
		f.count(&f.Corrupt, "user %d: %d bytes pushed: %.60q", k.user, len(p), p)
		return
	}
	var in *order
	switch m.Kind {
	case KindBroadcast:
		in = &k.all
	case KindUser:
		if m.Target == k.user {
			in = &k.own
		}
	case KindTopic:
		if i := slices.IndexFunc(k.topics, func(s subscription) bool { return s.topic == m.Target }); i >= 0 {
			in = &k.topics[i].order
		}
	}
	if k.woken && m.Kind == KindBroadcast && r.late(k, m.Seq) {
		return
	}
	if in == nil {
		f.count(&f.Foreign, "user %d: message %c%d for %d", k.user, m.Kind, m.Seq, m.Target)
		return
	}
	if !in.check(m.Seq, f, func() string { return fmt.Sprintf("user %d, kind %c", k.user, m.Kind) }) {
		return
	}
	r.result.Received++
	if m.At >= r.plan.From && (m.Kind == KindUser || !r.plan.Users) {
		r.result.Measured++
		record(r.result.Latency, now-m.At)
	}
	if m.Kind != KindBroadcast {
		return
	}
	if n := r.reached[m.Seq] + 1; n < r.c.live {
		r.reached[m.Seq] = n
	} else {
		r.reachedAll(m.Seq, now)
	}
}

func (r *Receiver) reachedAll(seq uint32, now int64) {
	delete(r.reached, seq)
	r.arrive(Arrival{seq, now})
}

// late checks a broadcast of an earlier phase that waited for a stuck connection. Some may be missing, because a server may
// drop old messages, but the others are in order. It returns false for the first broadcast of this phase; from then on the
// connection is an ordinary one.
func (r *Receiver) late(k *conn, seq uint32) bool {
	if int32(seq-r.plan.Broadcast) >= 0 {
		k.woken, k.all = false, startingAt(r.plan.Broadcast)
		return false
	}
	if int32(seq-k.all.next) < 0 {
		f := &r.c.faults
		f.count(&f.Reordered, "user %d, once stuck: received message %d, expected %d", k.user, seq, k.all.next)
		return true
	}
	k.all.next = seq + 1
	return true
}

// Stick makes every n-th connection stop reading, as a client that hangs does, and returns their number. They stay open,
// do not count as live, and are expected to receive nothing.
func (c *Client) Stick(n int) (stuck int) {
	for i := range c.conns {
		k := &c.conns[i]
		if i%n != 0 || k.fd < 0 || k.state != stateOpen || k.stuck {
			continue
		}
		unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, int(k.fd), nil)
		k.stuck = true
		c.live--
		stuck++
	}
	return stuck
}

// wake makes stuck connections read again: first what the server kept for them, if it did not close them, and then what all
// receive.
func (c *Client) wake() {
	for i := range c.conns {
		k := &c.conns[i]
		if k.fd < 0 || !k.stuck {
			continue
		}
		k.stuck, k.woken = false, true
		c.live++
		if err := c.listen(k); err != nil {
			c.end(k, err.Error())
		}
	}
}
