package load

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// An EchoPlan asks for echoes in a closed loop: InFlight tokens go around the connections. A connection with a token sends
// Depth messages in one write, and passes the token on when all have been echoed.
type EchoPlan struct {
	Active   int           `json:"active"`   // participating connections; 0 means all
	InFlight int           `json:"inflight"` // tokens, at most Active
	Depth    int           `json:"depth"`    // messages per token; 0 means one
	Size     int           `json:"size"`     // bytes per message
	Warm     time.Duration `json:"warm"`     // not measured
	Time     time.Duration `json:"time"`     // measured
	Grace    time.Duration `json:"grace"`    // for the last echoes
}

// An EchoResult is the result of the measured time.
type EchoResult struct {
	Messages int                     `json:"messages"`
	Elapsed  time.Duration           `json:"elapsed"`
	Latency  *hdrhistogram.Histogram `json:"-"` // from before the write to after the read, nanoseconds
}

type echoing struct {
	c        *Client
	plan     EchoPlan
	ring     []int32 // slots of the participating connections
	cursor   int
	under    int // pending messages
	over     bool
	from, to int64
	counted  int
	latency  *hdrhistogram.Histogram
	payload  []byte
}

// Echo runs the plan. mark is called when the measured time begins and when it ends.
func (c *Client) Echo(plan EchoPlan, mark func()) EchoResult {
	plan.Depth = max(plan.Depth, 1)
	e := &echoing{c: c, plan: plan, latency: newHistogram()}
	for i := range c.conns {
		if k := &c.conns[i]; k.fd >= 0 && k.state == stateOpen && (plan.Active == 0 || len(e.ring) < plan.Active) {
			k.echo = startingAt(k.sent)
			e.ring = append(e.ring, k.place)
		}
	}
	c.phase = e
	forever := func() bool { return len(e.ring) == 0 }
	for range min(plan.InFlight, len(e.ring)) {
		e.turn()
	}
	e.from, e.to = never, never
	c.run(Now()+int64(plan.Warm), forever)
	mark()
	e.from = Now()
	c.run(e.from+int64(plan.Time), forever)
	e.to = Now()
	mark()
	e.over = true
	if !c.run(e.to+int64(plan.Grace), func() bool { return e.under == 0 }) {
		c.faults.count(&c.faults.Late, "%d echoes missing %v after the end", e.under, plan.Grace)
		c.faults.Late += e.under - 1
	}
	c.phase = resting{c}
	return EchoResult{Messages: e.counted, Elapsed: time.Duration(e.to - e.from), Latency: e.latency}
}

// turn gives a token to the next connection without pending echoes.
func (e *echoing) turn() {
	for range e.ring {
		k := &e.c.conns[e.ring[e.cursor]]
		if e.cursor++; e.cursor == len(e.ring) {
			e.cursor = 0
		}
		if k.fd < 0 || k.sent != k.echo.next {
			continue
		}
		b := e.c.out[:0]
		now := Now()
		for range e.plan.Depth {
			e.payload = Message{KindEcho, k.user, k.sent, now}.Append(e.payload[:0], e.plan.Size)
			b = appendFrame(b, e.c.op, e.payload, e.c.key())
			k.sent++
			e.under++
		}
		e.c.send(k, b)
		return
	}
}

func (e *echoing) opened(*conn) {}

func (e *echoing) message(k *conn, op byte, p []byte) {
	now := Now()
	f := &e.c.faults
	m, ok := Parse(p)
	switch {
	case !ok || op != e.c.op || len(p) != e.plan.Size:
		f.count(&f.Corrupt, "user %d: %d bytes with opcode %d came back for %d bytes with opcode %d: %.60q", k.user, len(p), op, e.plan.Size, e.c.op, p)
	case m.Kind != KindEcho || m.Target != k.user || int32(m.Seq-k.sent) >= 0:
		f.count(&f.Foreign, "user %d: message %c%d for %d", k.user, m.Kind, m.Seq, m.Target)
		return
	}
	if !ok {
		m.Seq = k.echo.next // count it as the one that was due
	}
	before := k.echo.next
	if !k.echo.check(m.Seq, f, func() string { return fmt.Sprintf("echo of user %d", k.user) }) {
		return
	}
	e.under -= int(k.echo.next - before)
	if now >= e.from && now < e.to {
		e.counted++
		record(e.latency, now-m.At)
	}
	if k.echo.next == k.sent && !e.over {
		e.turn()
	}
}

func (e *echoing) ended(k *conn, why string) {
	e.under -= int(k.sent - k.echo.next)
	e.c.faults.count(&e.c.faults.Closed, "user %d: %s", k.user, why)
	if !e.over {
		e.turn()
	}
}
