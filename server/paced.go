package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/audience"
	"fanfare/server/internal/operate"
	"fanfare/server/internal/pace"
	"fanfare/server/node"
)

// This file has paced broadcasts: a message to every session, or to the subscribers of a
// topic, whose deliveries are spread evenly over a time, so that the clients do not all
// call a backend at once.

// Pace says how the deliveries of a paced broadcast are spread.
type Pace struct {
	// Over is the time from the first delivery to the last, at most MaxPace.
	Over time.Duration
	// Key, if not empty, names what the message is about: a paced broadcast ends one with the
	// same key that is under way. It is UTF-8 of at most 256 bytes.
	Key string
}

const (
	// MinPace and MaxPace bound Pace.Over.
	MinPace = node.MinPace
	MaxPace = node.MaxPace
	// MaxPaced bounds the paced broadcasts that are under way.
	MaxPaced = pace.MaxRunning
)

var (
	// ErrManyPaced: MaxPaced paced broadcasts are under way.
	ErrManyPaced = errors.New("server: too many paced broadcasts are under way")
	// ErrNoPaced: no node has a paced broadcast with this ID. Those that have ended are
	// forgotten after a while.
	ErrNoPaced = errors.New("server: no such paced broadcast")
)

// PacedBroadcast describes a paced broadcast, and PacedState says how far it is.
type (
	PacedBroadcast = node.PacedBroadcast
	PacedState     = node.PacedState
)

// The states of a paced broadcast. All but the first are final.
const (
	PacedRunning  = node.PacedRunning
	PacedDone     = node.PacedDone     // every receiver has been reached
	PacedCanceled = node.PacedCanceled // by CancelPaced
	PacedReplaced = node.PacedReplaced // by one with the same key
	PacedStopped  = node.PacedStopped  // the server has begun to drain
)

// pacedStates are the names of the states of a job.
var pacedStates = [...]PacedState{
	pace.Running: PacedRunning, pace.Done: PacedDone, pace.Canceled: PacedCanceled, pace.Replaced: PacedReplaced, pace.Stopped: PacedStopped,
}

// PacedDelivery is a paced broadcast, and whether every node has answered.
type PacedDelivery struct {
	PacedBroadcast
	Coverage
}

// PacedList is a list of paced broadcasts, and whether every node has answered.
type PacedList struct {
	Broadcasts []PacedBroadcast // in the order in which they were started
	Coverage
}

// StartPaced starts to send a message to everyone, or to the subscribers of one topic, and
// returns before the first session has it. Each node spreads the deliveries to its own
// sessions evenly over the time, in steps of 20 ms, in no particular order.
//
// Sessions that are open at the start receive the message, unless they end before it is
// their turn; a session that opens later does not (to 100 ms). A session receives it at most
// once. If there is a paced broadcast with the same key, no session receives its message any
// more, and every session receives the new one: also those that have received the old one.
//
// Drain ends paced broadcasts where they are. Errors: ErrAudience, ErrTooBig, ErrManyPaced.
func (srv *Server) StartPaced(ctx context.Context, to Audience, m *Message, p Pace) (PacedDelivery, error) {
	if err := srv.fits(m); err != nil {
		return PacedDelivery{}, err
	}
	c := &Command{Verb: VerbPaced, Audience: to, ID: srv.newPacedID(), Key: p.Key, Over: p.Over}
	m.into(c)
	if err := node.CheckPaced(c, srv.Durable); err != nil {
		return PacedDelivery{}, err
	}
	if srv.cluster != nil {
		if err := srv.cluster.Check(c); err != nil {
			return PacedDelivery{}, err
		}
	}
	b, err := srv.startPacedLocal(c, m)
	if err != nil || srv.cluster == nil {
		return PacedDelivery{PacedBroadcast: b}, err
	}
	answer := srv.ask(ctx, Target{}, c)
	for _, r := range answer.Replies {
		for _, other := range r.Paced {
			node.MergePaced(&b, other)
		}
	}
	return PacedDelivery{b, answer.Coverage}, nil
}

// ListPaced lists the paced broadcasts that are under way, and the last that have ended.
func (srv *Server) ListPaced(ctx context.Context) PacedList {
	return srv.pacedOnAllNodes(ctx, &Command{Verb: VerbPacedList})
}

// FindPaced returns a paced broadcast. The error is ErrNoPaced.
func (srv *Server) FindPaced(ctx context.Context, id string) (PacedDelivery, error) {
	return srv.onePaced(ctx, &Command{Verb: VerbPacedList, ID: id})
}

// CancelPaced ends a paced broadcast: when it has returned, no session of the nodes that
// have answered receives the message any more. For one that has ended it does nothing. The
// error is ErrNoPaced.
func (srv *Server) CancelPaced(ctx context.Context, id string) (PacedDelivery, error) {
	return srv.onePaced(ctx, &Command{Verb: VerbPacedCancel, ID: id})
}

func (srv *Server) onePaced(ctx context.Context, c *Command) (PacedDelivery, error) {
	if node.CheckPacedID(c.ID) != nil { // no node has it
		return PacedDelivery{}, ErrNoPaced
	}
	list := srv.pacedOnAllNodes(ctx, c)
	if len(list.Broadcasts) == 0 {
		return PacedDelivery{Coverage: list.Coverage}, ErrNoPaced
	}
	return PacedDelivery{list.Broadcasts[0], list.Coverage}, nil
}

func (srv *Server) pacedOnAllNodes(ctx context.Context, c *Command) (l PacedList) {
	var local []PacedBroadcast
	_, answer, err := srv.onAllNodes(ctx, Target{}, c, func() int {
		local = srv.pacedLocal(c)
		return 0
	})
	l.Coverage = answer.Coverage
	if err != nil {
		l.Unreachable = err
	}
	if l.Unreachable == nil && srv.cluster != nil {
		l.Unreachable = srv.cluster.Ready()
	}
	for _, r := range answer.Replies {
		local = append(local, r.Paced...)
	}
	l.Broadcasts = node.MergePacedLists(local, func(b *PacedBroadcast) *PacedBroadcast { return b })
	return l
}

// newPacedID returns an ID, see node.CheckPacedID: the time in microseconds and a random
// number. Of two broadcasts with the same key the one with the greater ID wins, so it is
// greater than all that this node has seen, even if the clock of another is ahead.
func (srv *Server) newPacedID() string {
	for {
		last := srv.pacedStamp.Load()
		stamp := max(uint64(srv.wall().UnixMicro()), last+1)
		if srv.pacedStamp.CompareAndSwap(last, stamp) {
			return fmt.Sprintf("%0*x%08x", node.PacedStampDigits, stamp, rand.Uint32())
		}
	}
}

// notePacedID keeps newPacedID ahead of the ID of another node.
func (srv *Server) notePacedID(id string) {
	stamp, _ := strconv.ParseUint(id[:node.PacedStampDigits], 16, 64)
	for last := srv.pacedStamp.Load(); stamp > last && !srv.pacedStamp.CompareAndSwap(last, stamp); {
		last = srv.pacedStamp.Load()
	}
}

// pacedInfo is Spec.Info of a job.
type pacedInfo struct {
	topic   string
	started time.Time
	close   *operate.Question // what a paced close does; nil: it is a broadcast
}

// startPacedLocal starts a paced broadcast to the sessions of this node.
func (srv *Server) startPacedLocal(c *Command, m *Message) (PacedBroadcast, error) {
	srv.notePacedID(c.ID)
	srv.openReceipt(m, c.Over)
	w := &pacedWalk{srv: srv, sel: srv.selectionOf(&c.Audience), born: srv.tick.Load(), counter: &srv.stats.Broadcast}
	if len(c.Audience.Topics) > 0 {
		w.topic, w.counter = c.Audience.Topics[0], &srv.stats.Published
	}
	w.do = srv.sender(m)
	j, err := srv.paced.Start(pace.Spec{ID: c.ID, Key: c.Key, Over: c.Over, Of: w.receivers(), Next: w.next, Info: &pacedInfo{topic: w.topic, started: srv.wall()}})
	switch {
	case errors.Is(err, pace.ErrFull):
		return PacedBroadcast{}, fmt.Errorf("%w: %d", ErrManyPaced, MaxPaced)
	case err != nil:
		return PacedBroadcast{}, fmt.Errorf("server: paced broadcast: %w", err)
	}
	return describePaced(j), nil
}

// pacedLocal executes VerbPacedList and VerbPacedCancel on this node.
func (srv *Server) pacedLocal(c *Command) (list []PacedBroadcast) {
	for _, j := range srv.paced.List() {
		if j.Info.(*pacedInfo).close != nil || c.ID != "" && c.ID != j.ID {
			continue
		}
		if c.Verb == VerbPacedCancel {
			srv.paced.Cancel(j.ID)
		}
		list = append(list, describePaced(j))
	}
	return list
}

func describePaced(j *pace.Job) PacedBroadcast {
	info, p := j.Info.(*pacedInfo), j.Progress()
	started := info.started.UTC().Round(0)
	b := PacedBroadcast{ID: j.ID, Key: j.Key, Topic: info.topic, State: pacedStates[p.State],
		Receivers: p.Receivers, Of: j.Of, Started: started, Until: started.Add(j.Over)}
	if p.State != pace.Running {
		b.Ended = started.Add(p.Ended - j.Started)
	}
	return b
}

// pacedEnded logs the end of a paced broadcast or close on this node.
func (srv *Server) pacedEnded(j *pace.Job, p pace.Progress) {
	if q := j.Info.(*pacedInfo).close; q != nil {
		srv.log.Info("paced close ended", "id", j.ID, "code", int(q.Code), "state", pacedStates[p.State], "closed", p.Receivers, "of", j.Of)
		return
	}
	srv.log.Info("paced broadcast ended", "id", j.ID, "key", j.Key, "state", pacedStates[p.State], "receivers", p.Receivers, "of", j.Of)
}

// pacedWalk does something with sessions of this process, one after another. Its cursor is all
// that it knows of them.
type pacedWalk struct {
	srv       *Server
	do        func(*Session) bool // delivers to a session, or closes it
	counter   *atomic.Int64       // of those for which do is true; nil: none
	sel       *audience.Selection
	users     map[string]struct{} // nil: every session
	topic     string              // empty: every session
	anonymous bool                // also sessions without a user
	born      uint32              // tick of the start; sessions that opened later are left out
	at        netpoll.Cursor      // owned by next
}

// sender returns the pacedWalk.do of a message.
func (srv *Server) sender(m *Message) func(*Session) bool {
	return func(s *Session) bool { return s.deliver(m, srv.topicPolicy()) == nil }
}

// receiver returns the session of a connection if it is concerned, else nil.
func (w *pacedWalk) receiver(h netpoll.Handler) *Session {
	c, ok := h.(handler)
	if !ok {
		return nil
	}
	s := c.s
	if !s.listed() && !(w.anonymous && s.phase() == open) || s.opened > w.born || !w.names(s) ||
		!selected(w.sel, s) || w.topic != "" && !w.srv.users.Subscribed(s, w.topic) {
		return nil
	}
	return s
}

// names reports whether the session is of one of the users, if there are any.
func (w *pacedWalk) names(s *Session) bool {
	if w.users == nil {
		return true
	}
	_, named := w.users[s.User()]
	return named
}

// receivers returns the number of sessions that are concerned now.
func (w *pacedWalk) receivers() int {
	return w.srv.countAll(func(h netpoll.Handler) bool { return w.receiver(h) != nil })
}

// next is Spec.Next.
func (w *pacedWalk) next(n int) (reached, accepted int, more bool) {
	defer func() {
		if v := recover(); v != nil {
			w.srv.panicked("paced broadcast", v)
			more = false
		}
	}()
	w.at, more = w.srv.engine.Walk(w.at, func(h netpoll.Handler) bool {
		if s := w.receiver(h); s != nil {
			reached++
			if w.do(s) {
				accepted++
			}
		}
		return reached < n
	})
	if w.counter != nil {
		w.counter.Add(int64(accepted))
	}
	return reached, accepted, more
}
