package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A PacePlan asks for echoes at a fixed rate, whether those before have come back or not: what ordinary
// clients do, and a wait that a server causes is seen by all the echoes that are due meanwhile.
type PacePlan struct {
	Rate  int           `json:"rate"`  // echoes a second, by one connection after the other
	Size  int           `json:"size"`  // bytes per message
	Time  time.Duration `json:"time"`  // how long they are sent
	Grace time.Duration `json:"grace"` // for the last echoes
}

// A PaceResult is what came of it.
type PaceResult struct {
	Messages int                     `json:"messages"` // that came back
	Latency  *hdrhistogram.Histogram `json:"-"`        // from when it was due, see Stamp, nanoseconds
}

// pacing is echoing without turns.
type pacing struct {
	echoing
	next, gap int64 // when the next echo is due, and how long after it the one behind
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

// send lets the next connection send a message.
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

// coarse is how late a timer may be without that anybody had to wait: they count milliseconds.
const coarse = int64(2 * time.Millisecond)

// Stamp is the moment from which a message counts that was due at a certain one: that moment, unless it was
// only missed by what a timer is coarse.
func Stamp(due int64) int64 {
	if now := Now(); now-due < coarse {
		return now
	}
	return due
}
