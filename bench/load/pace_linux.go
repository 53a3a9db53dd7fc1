package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A PacePlan asks for echoes at a fixed rate, whether or not earlier ones have returned, as ordinary clients do. A stall of
// the server shows in all echoes that are due during it.
type PacePlan struct {
	Rate  int           `json:"rate"`  // echoes a second, by the connections in turn
	Size  int           `json:"size"`  // bytes per message
	Time  time.Duration `json:"time"`  // how long they are sent
	Grace time.Duration `json:"grace"` // for the last echoes
}

// A PaceResult is the result of a PacePlan.
type PaceResult struct {
	Messages int                     `json:"messages"` // echoed
	Latency  *hdrhistogram.Histogram `json:"-"`        // from when an echo was due, see Stamp, nanoseconds
}

// pacing is echoing without tokens.
type pacing struct {
	echoing
	next, gap int64 // when the next echo is due, and the time between two
}

// Pace runs the plan over all open connections.
func (c *Client) Pace(plan PacePlan) PaceResult {
	p := &pacing{gap: int64(time.Second) / int64(plan.Rate)}
	p.echoing = echoing{c: c, plan: EchoPlan{Size: plan.Size}, latency: newHistogram(), over: true, to: never}
	for i := range c.conns {
		if k := &c.conns[i]; k.fd >= 0 && k.state == stateOpen {
			k.echo = startingAt(k.sent)
			p.ring = append(p.ring, k.place)
		}
	}
	c.phase = p
	p.next = Now()
	end := p.next + int64(plan.Time)
	c.run(end, func() bool { return false })
	p.next = never
	if !c.run(end+int64(plan.Grace), func() bool { return p.under == 0 }) {
		c.faults.count(&c.faults.Late, "%d echoes missing %v after the end", p.under, plan.Grace)
		c.faults.Late += p.under - 1
	}
	c.phase = resting{c}
	return PaceResult{Messages: p.counted, Latency: p.latency}
}

func (p *pacing) tick(now int64) (next int64) {
	for ; p.next <= now; p.next += p.gap {
		p.send(Stamp(p.next))
	}
	return p.next
}

// send makes the next connection send a message.
func (p *pacing) send(at int64) {
	for range p.ring {
		k := &p.c.conns[p.ring[p.cursor]]
		if p.cursor++; p.cursor == len(p.ring) {
			p.cursor = 0
		}
		if k.fd < 0 {
			continue
		}
		p.payload = Message{KindEcho, k.user, k.sent, at}.Append(p.payload[:0], p.plan.Size)
		k.sent++
		p.under++
		p.c.send(k, appendFrame(p.c.out[:0], p.c.op, p.payload, p.c.key()))
		return
	}
}

// coarse is how late a timer may be without a stall: timers count milliseconds.
const coarse = int64(2 * time.Millisecond)

// Stamp returns the time from which the latency of a message counts: when it was due, or now if only the resolution of the
// timer made it late.
func Stamp(due int64) int64 {
	if now := Now(); now-due < coarse {
		return now
	}
	return due
}
