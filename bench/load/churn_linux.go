package load

import (
	"encoding/binary"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A ChurnPlan opens connections at a steady rate, whether or not the server keeps up, and later closes each with a closing
// handshake (RFC 6455 section 7.1.2).
type ChurnPlan struct {
	Rate   int           `json:"rate"`             // connections per second
	Hold   time.Duration `json:"hold"`             // how long each stays open
	Time   time.Duration `json:"time"`             // how long connections are opened
	Grace  time.Duration `json:"grace"`            // for the last to close
	First  uint32        `json:"first"`            // the user number of the first
	Path   string        `json:"path"`             // as in DialPlan
	Tokens []string      `json:"tokens,omitempty"` // as in DialPlan
}

// A ChurnResult is the result of a ChurnPlan.
type ChurnResult struct {
	Opened  int                     `json:"opened"`
	Closed  int                     `json:"closed"` // by a close frame of the server and the end of its stream
	Latency *hdrhistogram.Histogram `json:"-"`      // of handshakes, from when they were due, nanoseconds
}

// Total returns the number of connections that the plan opens.
func (p *ChurnPlan) Total() int { return int(float64(p.Rate) * p.Time.Seconds()) }

type churning struct {
	c      *Client
	plan   ChurnPlan
	start  int64
	begun  int
	failed int
	open   []leaving // in the order of their handshakes
	result ChurnResult
}

// A leaving is a connection to close. gen distinguishes it from a later connection in the same slot.
type leaving struct {
	place int32
	gen   uint32
	at    int64
}

// Churn runs the plan.
func (c *Client) Churn(plan ChurnPlan) ChurnResult {
	u := &churning{c: c, plan: plan, start: Now()}
	u.result.Latency = newHistogram()
	c.phase = u
	total := plan.Total()
	done := func() bool { return u.begun == total && u.result.Closed+u.failed == total }
	if !c.run(u.start+int64(plan.Time+plan.Hold+plan.Grace), done) {
		missing := total - u.result.Closed - u.failed
		c.faults.count(&c.faults.Late, "%d of %d connections not closed after %v", missing, total, plan.Grace)
		c.faults.Late += missing - 1
	}
	c.phase = resting{c}
	return u.result
}

func (u *churning) due(i int) int64 { return u.start + int64(i)*int64(time.Second)/int64(u.plan.Rate) }

// tick opens and closes the connections that are due, and returns when the next one is.
func (u *churning) tick(now int64) (next int64) {
	end := u.start + int64(u.plan.Time)
	for ; u.due(u.begun) <= now && u.due(u.begun) < end; u.begun++ {
		user := u.plan.First + uint32(u.begun)
		if err := u.c.dial(user, u.due(u.begun), 0); err != nil {
			u.c.faults.count(&u.c.faults.Refused, "user %d: %v", user, err)
			u.failed++
		}
	}
	for len(u.open) > 0 && u.open[0].at <= now {
		if k := &u.c.conns[u.open[0].place]; k.fd >= 0 && k.gen == u.open[0].gen {
			u.close(k)
		}
		u.open = u.open[1:]
	}
	next = never
	if u.due(u.begun) < end {
		next = u.due(u.begun)
	}
	if len(u.open) > 0 {
		next = min(next, u.open[0].at)
	}
	return next
}

func (u *churning) close(k *conn) {
	k.state = stateClosing
	u.c.live--
	u.c.send(k, appendFrame(u.c.out[:0], opClose, binary.BigEndian.AppendUint16(nil, 1000), u.c.key()))
}

func (u *churning) request(user uint32) string {
	return expand(u.plan.Path, user, u.token(user), nil)
}

func (u *churning) token(user uint32) string { return tokenOf(user-u.plan.First, u.plan.Tokens) }

func (u *churning) opened(k *conn) {
	now := Now()
	u.result.Opened++
	record(u.result.Latency, now-k.at)
	u.open = append(u.open, leaving{k.place, k.gen, now + int64(u.plan.Hold)})
}

func (u *churning) message(k *conn, op byte, p []byte) { resting{u.c}.message(k, op, p) }

func (u *churning) ended(k *conn, why string) {
	switch k.state {
	case stateClosed:
		u.result.Closed++
		return
	case stateOpen, stateClosing:
		resting{u.c}.ended(k, why)
	default:
		u.c.faults.count(&u.c.faults.Refused, "user %d: %s", k.user, why)
	}
	u.failed++
}
