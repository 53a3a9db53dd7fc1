package cluster

import (
	"time"

	"github.com/nats-io/nats.go"
)

// controlLoop sends and receives beats, links nodes, and has Sync answered.
type controlLoop struct {
	*Cluster
	sequence   uint64
	rounds     uint64
	current    *round // nil: none is under way
	generation uint64 // of the connection, as far as the loop has noticed
	reconnects bool   // Node.Missed is due after the next round of all
	lastBeat   time.Time
	retry      bool // nodes that did not answer are due for another try

	ticker *time.Ticker
	next   *time.Timer      // the next beat that is not the ticker's
	again  <-chan time.Time // repeat is due; nil: it is not
}

const (
	// beatGather is how long a beat waits for more changes of interest;
	// beatGatherMany is the same soon after another beat.
	beatGather     = 20 * time.Millisecond
	beatGatherMany = 250 * time.Millisecond
)

func (c *Cluster) controlLoop() {
	l := &controlLoop{Cluster: c, ticker: time.NewTicker(beatEvery), next: time.NewTimer(0)}
	defer l.ticker.Stop()
	defer l.next.Stop()
	for l.step() {
	}
}

// step waits for one event and handles it. It returns false when the node leaves. A panic
// ends the round that is under way, because advance would meet it again.
func (l *controlLoop) step() (more bool) {
	defer func() {
		if p := recover(); p != nil {
			l.panicked("panic in the control loop", p)
			l.endRound()
			more = true
		}
	}()
	var deadline <-chan time.Time
	if l.current != nil {
		deadline = time.After(l.current.deadline.Sub(l.now()))
	}
	select {
	case <-l.quit:
		return false
	case m := <-l.control:
		if l.heard(m) {
			l.next.Reset(beatGather) // a new node wants to know this one
		}
	case m := <-l.links.echoes:
		l.echo(m)
	case id := <-l.linked:
		l.log.Debug("node linked", "node", l.peers.nameOf(id))
		if l.again == nil {
			l.again = time.After(beatGather)
		}
	case <-l.again:
		l.again = nil
		l.repeat(true)
	case <-l.links.wakeup:
		if l.noticeConnect() {
			l.next.Reset(0)
		}
	case <-l.links.changed:
		gather := beatGather
		if l.now().Sub(l.lastBeat) < beatGatherMany {
			gather = beatGatherMany
		}
		l.next.Reset(gather)
	case <-l.next.C:
		l.beat()
	case <-l.ticker.C:
		l.tick()
	case <-deadline:
	}
	l.advance(l.now())
	return true
}

func (l *controlLoop) tick() {
	now := l.now()
	if l.buckets.sweep(now) {
		l.out.wake()
	}
	l.repeats.expire(now, &l.conn)
	l.repeat(false)
	l.retry = true
	l.beat()
	// Without a connection no node is heard, and that is logged elsewhere.
	if since := l.conn.since.Load(); l.conn.up.Load() && since != nil && now.Sub(*since) > beatLost {
		for _, name := range l.peers.lost(now) {
			l.log.Warn("node lost: it was killed or paused, or its network is cut; its sessions do not count until it is heard again", "node", name, "silent", beatLost)
		}
	}
}

// noticeConnect reports whether this node has a new connection.
func (l *controlLoop) noticeConnect() bool {
	g := l.conn.generation.Load()
	if g == l.generation {
		return false
	}
	l.generation, l.reconnects = g, true
	l.links.proven.Store(0)
	l.peers.unlink()
	l.endRound()
	return true
}

func (l *controlLoop) beat() {
	now := l.now()
	l.lastBeat = now
	if !l.conn.up.Load() {
		return
	}
	l.sequence++
	if l.repeats.takeOverflow() {
		l.sequence++ // the others notice a gap, and look up stored messages
	}
	b := beat{sequence: l.sequence, generation: l.conn.generation.Load(), name: l.cfg.Name,
		repeats: l.repeats.early(now, &l.conn), holds: l.buckets.held(), clock: uint64(max(now.UnixMilli(), 0))}
	l.post(outgoing{subject: controlSubject, body: b.append(appendHeader(nil, kindBeat, l.id)), at: now})
}

// heard handles a message on the control subject. It reports whether a node is new.
func (l *controlLoop) heard(m *nats.Msg) bool {
	e, ok := l.open(m.Data)
	if !ok {
		return false
	}
	switch e.kind {
	case kindBeat:
		b, err := decodeBeat(e.body)
		if err != nil {
			l.malformed(e.from, err)
			return false
		}
		n := l.peers.hear(e.from, b, l.now())
		if n.isNew {
			l.log.Info("node joined", "node", b.name, "id", e.from.String())
		}
		if n.duplicate {
			l.count.names.Add(1)
			l.log.Warn("another node has the name of this one; give each a name of its own", "name", b.name, "id", e.from.String())
		}
		if n.ahead > 0 {
			l.count.clocks.Add(1)
			l.warn("the clock of another node is ahead of this one's; synchronize both", b.name, "node", b.name, "ahead", n.ahead)
		}
		l.retry = l.retry || n.link
		l.probeAgain(e.from)
		return n.isNew
	case kindBye:
		l.log.Info("node left", "node", l.peers.nameOf(e.from))
		l.peers.remove(e.from)
		if l.current != nil {
			delete(l.current.need, e.from)
		}
	case kindProbe:
		l.answerProbe(e)
	default:
		l.malformed(e.from, errTruncated)
	}
	return false
}
