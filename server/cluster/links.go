package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// links tracks which interest of this node is proven to have reached the other nodes'
// NATS servers. The control loop runs one round of probes after another; Sync waits
// for them.
type links struct {
	// subscribed is the version of interest for which the sender has made the
	// subscriptions; proven the one that every node has confirmed, 0 after the
	// connection broke.
	subscribed, proven atomic.Uint64

	wakeup  chan struct{} // a connect, or a call of wait
	changed chan struct{} // interest changed
	echoes  chan *nats.Msg

	mu      sync.Mutex
	waiting map[chan struct{}]uint64 // by version; guarded by mu

	messages uint64 // numbers of fragmented messages; owned by the sender
}

func (l *links) init() {
	l.wakeup = make(chan struct{}, 1)
	l.changed = make(chan struct{}, 1)
	l.echoes = make(chan *nats.Msg, 4<<10)
	l.waiting = make(map[chan struct{}]uint64)
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *links) wake()            { kick(l.wakeup) }
func (l *links) interestChanged() { kick(l.changed) }

// wait returns a channel that is closed when a version is proven or the connection
// breaks.
func (l *links) wait(version uint64) chan struct{} {
	done := make(chan struct{})
	l.mu.Lock()
	l.waiting[done] = version
	l.mu.Unlock()
	l.wake()
	return done
}

func (l *links) forget(done chan struct{}) {
	l.mu.Lock()
	delete(l.waiting, done)
	l.mu.Unlock()
}

// interrupt closes the channels of all that wait, because the connection broke.
func (l *links) interrupt() {
	l.proven.Store(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	for done := range l.waiting {
		close(done)
	}
	clear(l.waiting)
}

// prove closes the channels of the versions that are proven, and reports whether others wait.
func (l *links) prove(version uint64) (more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for done, v := range l.waiting {
		if v <= version {
			close(done)
			delete(l.waiting, done)
		}
	}
	return len(l.waiting) > 0
}

// round is one probe. It belongs to the control loop, except for version.
type round struct {
	number     uint64
	generation uint64
	all        bool                // every node is asked, not only those to be linked
	need       map[nodeID]struct{} // nodes that have not answered
	answered   []nodeID
	deadline   time.Time
	version    atomic.Uint64 // what was subscribed when the probe was sent; 0: not sent
	mark       *nats.Subscription
}

// answerProbe sends the echo of a probe.
func (c *Cluster) answerProbe(e envelope) {
	r := reader{b: e.body}
	number := r.uvarint()
	if err := r.end(); err != nil {
		c.malformed(e.from, err)
		return
	}
	c.try(outgoing{subject: markSubject(e.from, number), body: appendProbe(c.id, kindEcho, number)})
}

func (l *controlLoop) echo(m *nats.Msg) {
	e, ok := l.open(m.Data)
	if !ok {
		return
	}
	r := reader{b: e.body}
	number := r.uvarint()
	if e.kind != kindEcho || r.end() != nil {
		l.malformed(e.from, errTruncated)
		return
	}
	if l.current == nil || l.current.number != number {
		return // too late
	}
	if _, ok := l.current.need[e.from]; ok {
		delete(l.current.need, e.from)
		l.current.answered = append(l.current.answered, e.from)
	} else if l.current.all {
		l.current.answered = append(l.current.answered, e.from)
	}
}

// advance ends the current round if it is complete or late, and begins another if
// something is to be proven.
func (l *controlLoop) advance(now time.Time) {
	if r := l.current; r != nil {
		sent := r.version.Load() != 0
		if !now.Before(r.deadline) || sent && len(r.need) == 0 {
			l.finish(r, sent)
		}
	}
	if l.current != nil || !l.conn.up.Load() {
		return
	}
	switch {
	case l.reconnects || l.links.prove(l.links.proven.Load()):
		l.begin(now, true, l.peers.responsive(now))
	case l.retry:
		l.retry = false
		if ids := l.peers.unlinked(now); len(ids) > 0 {
			need := make(map[nodeID]struct{}, len(ids))
			for _, id := range ids {
				need[id] = struct{}{}
			}
			l.begin(now, false, need)
		}
	}
}

// begin makes the sender subscribe to a new subject, after the subscriptions for all
// interest so far, and send a probe whose echoes arrive there.
func (l *controlLoop) begin(now time.Time, all bool, need map[nodeID]struct{}) {
	l.rounds++
	r := &round{number: l.rounds, generation: l.generation, all: all, need: need, deadline: now.Add(l.cfg.Timeout)}
	l.current = r
	subjects := []string{controlSubject}
	if !all {
		subjects = nil
		for id := range need {
			subjects = append(subjects, replySubject(id))
		}
	}
	l.out.put(outgoing{do: func() { l.probe(r, subjects) }}, 0, true)
}

// probe is the sender's part of a round.
func (c *Cluster) probe(r *round, subjects []string) {
	defer c.links.wake()
	if !c.conn.up.Load() || c.conn.generation.Load() != r.generation {
		return
	}
	version := c.links.subscribed.Load()
	mark, err := c.nc.Load().ChanSubscribe(markSubject(c.id, r.number), c.links.echoes)
	if err != nil {
		c.warn("NATS subscribe failed", err.Error(), "connection", role, "err", err)
		return
	}
	r.mark = mark
	for _, subject := range subjects {
		c.publish(outgoing{subject: subject, body: appendProbe(c.id, kindProbe, r.number)})
	}
	r.version.Store(version + 1) // 0 is "not sent"
}

// probeAgain repeats the current probe to a node that has not answered it and now
// sends a beat: the node may have been disconnected when the probe was sent.
func (l *controlLoop) probeAgain(id nodeID) {
	r := l.current
	if r == nil || r.version.Load() == 0 {
		return
	}
	if _, ok := r.need[id]; ok {
		l.try(outgoing{subject: replySubject(id), body: appendProbe(l.id, kindProbe, r.number), at: l.now()})
	}
}

func (l *controlLoop) endRound() {
	r := l.current
	if r == nil {
		return
	}
	l.current = nil
	l.out.put(outgoing{do: func() {
		if r.mark != nil {
			r.mark.Unsubscribe()
		}
	}}, 0, true)
}

func (l *controlLoop) finish(r *round, sent bool) {
	l.endRound()
	if !sent || r.generation != l.conn.generation.Load() || !l.conn.up.Load() {
		l.retry = true
		return
	}
	for id := range r.need {
		l.peers.silence(id)
	}
	missed := false
	for _, id := range r.answered {
		wasLinked, repeats := l.peers.link(id)
		switch {
		case wasLinked:
		case repeats:
			l.post(outgoing{subject: replySubject(id), body: appendHeader(nil, kindLinked, l.id), at: l.now()})
		default:
			missed = true
		}
	}
	if r.all {
		version := r.version.Load() - 1
		l.links.proven.Store(version)
		l.links.prove(version)
		missed = missed || l.reconnects
		l.reconnects = false
	}
	if missed {
		l.missed()
	}
}
