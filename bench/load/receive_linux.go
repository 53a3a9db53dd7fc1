package load

import (
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
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
	From      int64  `json:"from"`      // messages from before this moment are checked, not measured
	Users     bool   `json:"users"`     // only pushes to users are measured
	Wake      bool   `json:"wake"`      // those that Stick stopped read again
}

// A ReceiveResult is what came.
type ReceiveResult struct {
	Received int                     `json:"received"` // messages, all of them
	Measured int                     `json:"measured"` // messages from after the plan's From
	Latency  *hdrhistogram.Histogram `json:"-"`        // from the moment in the message to its being read, nanoseconds
}

// A Receiver is the phase in which the server pushes. Broadcasts are numbered through from the plan's first;
// pushes to a user or topic are numbered from 0 for as long as the connection lives.
type Receiver struct {
	c       *Client
	plan    ReceivePlan
	arrive  func(Arrival)
	reached map[uint32]int // broadcasts that are under way: how many have them
	result  ReceiveResult
}

// Receive begins to take what the server pushes, while Run runs. arrive is called for each broadcast that has
// reached every connection.
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

// Received is how many messages have come.
func (r *Receiver) Received() int { return r.result.Received }

// Finish ends the phase. next is the number of the broadcast that would come next: a connection that has not
// got as far has lost messages. One that is further has the first of a broadcast that is still under way.
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
	if !k.woken { // a server may give up who does not read
		r.c.faults.count(&r.c.faults.Closed, "user %d: %s", k.user, why)
		return
	}
	for seq, n := range r.reached { // there is one less to wait for
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

// late takes a broadcast from before this phase, which waited for one who was stuck. Some may be missing, for a
// server may drop what is old, but what comes has its order. It is false for the first of this phase, with which
// the connection is one like the others.
func (r *Receiver) late(k *conn, seq uint32) bool {
	if int32(seq-r.plan.Broadcast) >= 0 {
		k.woken, k.all = false, startingAt(r.plan.Broadcast)
		return false
	}
	if int32(seq-k.all.next) < 0 {
		f := &r.c.faults
		f.count(&f.Reordered, "user %d, once stuck: message %d came where %d was due", k.user, seq, k.all.next)
		return true
	}
	k.all.next = seq + 1
	return true
}

// Stick lets every n-th connection stop reading, as a client that hangs does, and returns how many that are.
// They stay open, count no longer as live, and nothing is expected of them.
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

// wake lets those that are stuck read again: what the server kept for them, if it has not closed them, and then
// what all get.
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
