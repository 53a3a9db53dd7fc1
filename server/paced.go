package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/allnodes"
	"fanfare/server/internal/audience"
	"fanfare/server/internal/operate"
	"fanfare/server/internal/pace"
	"fanfare/server/node"
	"fanfare/server/where"
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
	ErrNoPaced = allnodes.ErrNoPaced
)

// PacedBroadcast describes a paced broadcast, PacedState says how far it is, and PacedDelivery and
// PacedList say whether every node has answered, too.
type (
	PacedBroadcast = node.PacedBroadcast
	PacedState     = node.PacedState
	PacedDelivery  = node.PacedDelivery
	PacedList      = node.PacedList
)

// The states of a paced broadcast. All but the first are final.
const (
	PacedRunning  = node.PacedRunning
	PacedDone     = node.PacedDone     // every receiver has been reached
	PacedCanceled = node.PacedCanceled // by CancelPaced
	PacedReplaced = node.PacedReplaced // by one with the same key
	PacedStopped  = node.PacedStopped  // the server has begun to drain
)

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
	c := &Command{Verb: VerbPaced, Audience: to, ID: srv.paced.NewID(srv.wall()), Key: p.Key, Over: p.Over}
	m.into(c)
	if err := node.CheckPaced(c, srv.Durable); err != nil {
		return PacedDelivery{}, err
	}
	return srv.nodes.StartPaced(ctx, c, func() (PacedBroadcast, error) { return srv.startPacedHere(c, m) })
}

// ListPaced lists the paced broadcasts that are under way, and the last that have ended.
func (srv *Server) ListPaced(ctx context.Context) PacedList { return srv.nodes.ListPaced(ctx) }

// FindPaced returns a paced broadcast. The error is ErrNoPaced.
func (srv *Server) FindPaced(ctx context.Context, id string) (PacedDelivery, error) {
	return srv.nodes.OnePaced(ctx, &Command{Verb: VerbPacedList, ID: id})
}

// CancelPaced ends a paced broadcast: when it has returned, no session of the nodes that
// have answered receives the message any more. For one that has ended it does nothing. The
// error is ErrNoPaced.
func (srv *Server) CancelPaced(ctx context.Context, id string) (PacedDelivery, error) {
	return srv.nodes.OnePaced(ctx, &Command{Verb: VerbPacedCancel, ID: id})
}

// startPacedHere starts a paced broadcast to the sessions of this node.
func (srv *Server) startPacedHere(c *Command, m *Message) (PacedBroadcast, error) {
	srv.paced.NoteID(c.ID)
	srv.openReceipt(m, c.Over)
	w := &pacedWalk{srv: srv, sel: srv.selectionOf(&c.Audience), born: srv.tick.Load(), counter: &srv.stats.Broadcast}
	if len(c.Audience.Topics) > 0 {
		w.topic, w.counter = c.Audience.Topics[0], &srv.stats.Published
	}
	w.do = srv.sender(m)
	j, err := srv.paced.Start(pace.Spec{ID: c.ID, Key: c.Key, Over: c.Over, Of: w.receivers(), Next: w.next, Info: pace.Info{Topic: w.topic, Started: srv.wall()}})
	switch {
	case errors.Is(err, pace.ErrFull):
		return PacedBroadcast{}, fmt.Errorf("%w: %d", ErrManyPaced, MaxPaced)
	case err != nil:
		return PacedBroadcast{}, fmt.Errorf("server: paced broadcast: %w", err)
	}
	return j.Broadcast(), nil
}

// startCloseHere starts to close sessions of this process. It returns nothing on a node that is
// not named.
func (srv *Server) startCloseHere(q *operate.Question) ([]PacedClose, error) {
	srv.paced.NoteID(q.ID)
	if q.Node != "" && q.Node != srv.nodeName() {
		return nil, nil
	}
	w := &pacedWalk{srv: srv, topic: q.Topic, anonymous: true, born: srv.tick.Load()}
	if len(q.Users) > 0 {
		w.users = make(map[string]struct{}, len(q.Users))
		for _, user := range q.Users {
			w.users[user] = struct{}{}
		}
	}
	if q.Where != "" {
		expr, err := where.Parse(q.Where)
		if err != nil {
			return nil, err
		}
		w.sel = srv.selectionOf(&Audience{Where: expr})
	}
	w.do = func(s *Session) bool { return s.Close(q.Code, q.Reason) }
	of, over := w.receivers(), time.Duration(q.Over)
	if q.Rate > 0 {
		over = time.Duration(float64(of) / float64(q.Rate) * float64(time.Second))
	}
	j, err := srv.paced.Start(pace.Spec{ID: q.ID, Over: over, Of: of, Next: w.next, Info: pace.Info{Started: srv.wall(), Close: q}})
	switch {
	case errors.Is(err, pace.ErrFull):
		return nil, fmt.Errorf("%w: %d", ErrManyPaced, MaxPaced)
	case err != nil:
		return nil, fmt.Errorf("server: paced close: %w", err)
	}
	return []PacedClose{j.Close()}, nil
}

// pacedEnded logs the end of a paced broadcast or close on this node.
func (srv *Server) pacedEnded(j *pace.Job, p pace.Progress) {
	if q := j.Info.Close; q != nil {
		srv.log.Info("paced close ended", "id", j.ID, "code", int(q.Code), "state", p.State.String(), "closed", p.Receivers, "of", j.Of)
		return
	}
	srv.log.Info("paced broadcast ended", "id", j.ID, "key", j.Key, "state", p.State.String(), "receivers", p.Receivers, "of", j.Of)
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
