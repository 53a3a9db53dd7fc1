package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"fanfare/server/identity"
	"fanfare/server/internal/gate"
	"fanfare/server/internal/history"
	"fanfare/server/internal/replay"
	"fanfare/server/store"
)

var (
	// ErrNoStore: Config.Store is nil, nothing is stored.
	ErrNoStore = errors.New("server: no store is configured")
	// ErrNotDurable: Config.DurableTopics does not name the topic.
	ErrNotDurable = errors.New("server: the topic is not durable")
	// ErrTooBig: the message exceeds Config.MaxPayload, or what the cluster
	// transports.
	ErrTooBig = errors.New("server: message too big")
)

// Entry is a message to store.
type Entry struct {
	Op      Op
	Payload []byte // UTF-8 if Op is Text
	// ID makes it harmless to repeat the call, see store.Entry.
	ID string
	// TTL is the time after which the message is not delivered any more, by the
	// clocks of servers; 0: it does not expire.
	TTL time.Duration
	// Escalate is the time after which Config.Escalator reports the message, unless the user
	// has acknowledged it: at least MinEscalation; 0: never. It is for messages to users.
	Escalate time.Duration
}

// Stored reports where an Entry was stored, and how many sessions it has reached.
type Stored struct {
	// Epoch and Offset are its position in the user's inbox, or in the topic.
	Epoch  string
	Offset uint64
	// Delivery is to the sessions that are connected now.
	Delivery
}

// PushStored stores a message in a user's inbox, and sends it to the user's
// sessions once it is stored. Errors: ErrNoStore, ErrTooBig, those of package store,
// and with Entry.Escalate ErrEscalation and ErrNoEscalator.
func (srv *Server) PushStored(ctx context.Context, user string, e Entry) (Stored, error) {
	p, err := srv.Begin(store.Box{User: user}, e)
	if err != nil {
		return Stored{}, err
	}
	return p.Finish(ctx)
}

// PublishStored stores a message in a durable topic, and sends it to the
// subscribers. Errors: those of PushStored, and ErrNotDurable.
func (srv *Server) PublishStored(ctx context.Context, topic string, e Entry) (Stored, error) {
	p, err := srv.Begin(store.Box{Topic: topic}, e)
	if err != nil {
		return Stored{}, err
	}
	return p.Finish(ctx)
}

// Durable reports whether a topic is durable.
func (srv *Server) Durable(topic string) bool {
	return srv.store != nil && identity.Covers(srv.cfg.DurableTopics, topic)
}

// Pending is a message that has its place in the order of its box.
type Pending struct {
	srv     *Server
	box     store.Box
	message *Message
	began   time.Duration // of Server.now
	pending *gate.Pending
	id      string    // Entry.ID
	due     time.Time // zero: the message is not escalated
}

// Begin takes a place for a message in the order of a user's inbox or a durable
// topic. Without an error Pending.Finish must be called.
func (srv *Server) Begin(box store.Box, e Entry) (*Pending, error) {
	switch {
	case srv.store == nil:
		return nil, ErrNoStore
	case box.User == "" && !srv.Durable(box.Topic):
		return nil, ErrNotDurable
	case len(e.Payload) > srv.cfg.MaxPayload:
		return nil, fmt.Errorf("%w: %d bytes, Config.MaxPayload is %d", ErrTooBig, len(e.Payload), srv.cfg.MaxPayload)
	}
	if err := srv.checkEscalation(box, &e); err != nil {
		return nil, err
	}
	var due time.Time
	if e.Escalate != 0 {
		due = srv.wall().Add(e.Escalate)
	}
	m := NewMessage(e.Op, e.Payload)
	began := srv.now()
	entry := store.Entry{ID: e.ID, Binary: e.Op == Binary, TTL: e.TTL, Payload: m.Payload()}
	return &Pending{srv: srv, box: box, message: m, began: began, pending: srv.gate.Begin(box, entry), id: e.ID, due: due}, nil
}

// Finish stores the message and sends it. It returns when it is stored and the
// sessions that are connected have it written or queued. It must be called exactly
// once, from any goroutine.
//
// If the epoch of the box changes meanwhile, the offset cannot be named, and the error is
// store.ErrUnavailable, although the message may be stored: sessions then get it when the
// store calls the function of OnRecover.
func (p *Pending) Finish(ctx context.Context) (Stored, error) {
	st, err := p.finish(ctx)
	if err == nil {
		err = p.escalate(ctx, st)
	}
	if err != nil {
		return Stored{}, err
	}
	return st, nil
}

func (p *Pending) finish(ctx context.Context) (Stored, error) {
	srv := p.srv
	r, err := p.pending.Finish(ctx)
	switch {
	case err != nil:
		return Stored{}, err
	case r.Moved:
		return Stored{r.Epoch, r.Offset, Delivery{Receivers: r.Receivers}}, nil
	// If the store was not available when the place was taken, the message was stored in
	// the history that it came back with.
	case r.Epoch == "" || r.Began != "" && r.Began != r.Epoch:
		return Stored{}, fmt.Errorf("%w: the epoch of the box changed while the message was stored; repeat it with the same ID", store.ErrUnavailable)
	}
	epoch := r.Epoch
	c := &Command{Verb: VerbStored, User: p.box.User, Topic: p.box.Topic, Epoch: epoch, Offset: r.Offset, Prev: r.Prev}
	message := p.message
	if r.Duplicate {
		message = nil // sessions that have it must not get it again
	} else {
		message.setPosition(p.box, epoch, r.Offset)
		c.Op, c.Payload = message.Op(), message.Payload()
	}
	if cl := srv.cluster; cl != nil && cl.Check(c) != nil {
		c.Op, c.Payload = 0, nil // other nodes read it from the store
	}
	n, answer, err := srv.nodes.Do(ctx, Target(p.box), c, func() int {
		return srv.together(func() int { return srv.announceHere(p.box, epoch, r.Offset, r.Prev, message, p.began) },
			func() *Command { return c })
	})
	if err != nil {
		return Stored{}, err
	}
	return Stored{epoch, r.Offset, Delivery{Receivers: n, Coverage: answer.Coverage}}, nil
}

// ErrStoreMoved: the store belongs to another process, which has ended.
var ErrStoreMoved = gate.ErrMoved

// ReleaseStore makes Config.Store unused, so that the caller can close it for another
// process. Messages to store wait from then on, until RestoreStore, or until HandOver has
// succeeded and the successor stores them. When what was being stored is stored, ReleaseStore
// calls detach, after which the Store must answer as unavailable, with an empty epoch.
//
// The error is that of ctx; nothing has changed then.
func (srv *Server) ReleaseStore(ctx context.Context, detach func()) error {
	if srv.store == nil {
		return nil
	}
	srv.history.End()
	if err := srv.gate.Release(ctx); err != nil {
		srv.resumeHistory()
		return err
	}
	detach()
	srv.replay.Settle()
	return nil
}

// RestoreStore takes a ReleaseStore back: the store works again.
func (srv *Server) RestoreStore() {
	srv.gate.Restore()
	srv.resumeHistory()
}

// Purge deletes the stored messages of a box, and returns how many there were.
func (srv *Server) Purge(ctx context.Context, box store.Box) (uint64, error) {
	if srv.store == nil {
		return 0, ErrNoStore
	}
	return srv.purge(ctx, box)
}

// purge deletes the stored messages of a box. When it has returned, none of them is written to
// the queue of a session of this process any more.
func (srv *Server) purge(ctx context.Context, box store.Box) (n uint64, err error) {
	srv.replay.Delete(box, func() { n, err = srv.gate.Purge(ctx, box) }, func(f func(replay.Receiver)) {
		l := lists.Get().(*[]*Session)
		defer putList(l)
		*l = srv.appendTarget(*l, Target(box))
		for _, s := range *l {
			f(receiver{s})
		}
	})
	return n, err
}

// Acknowledge records that a user has all messages up to a position, of the inbox or of a
// durable topic, for a client that has no session at the moment or cannot send anything in it.
// It returns when that is stored. The error is ErrNoStore, ErrNotDurable, ErrNotSent if the
// position does not belong to the present history, or one of package store.
func (srv *Server) Acknowledge(ctx context.Context, user string, p Position) error {
	return srv.acknowledge(ctx, user, p, netip.Addr{}, true)
}

// acknowledge is Acknowledge for a client at an address. exempt says that it cannot have
// chosen the topic.
func (srv *Server) acknowledge(ctx context.Context, user string, p Position, from netip.Addr, exempt bool) error {
	switch {
	case srv.replay == nil:
		return ErrNoStore
	case p.Topic != "" && !srv.Durable(p.Topic):
		return ErrNotDurable
	}
	b := store.Box{User: user}
	if p.Topic != "" {
		b = store.Box{Topic: p.Topic}
	}
	switch err := srv.replay.AckUser(ctx, user, b, from, exempt, replay.Position{Topic: p.Topic, Epoch: p.Epoch, Offset: p.Offset}); {
	case errors.Is(err, replay.ErrPositions):
		return ErrPositions
	case errors.Is(err, replay.ErrEpoch):
		return errors.Join(ErrNotSent, err)
	default:
		return err
	}
}

// Escalation is a message in a user's inbox that an Escalator is to report if the user has not
// acknowledged it when it is due.
type Escalation struct {
	User   string
	ID     string // Entry.ID
	Epoch  string
	Offset uint64
	Due    time.Time
}

// Escalator reports messages that were not acknowledged in time: package webhook has one. It
// is called concurrently.
type Escalator interface {
	// CheckEscalation returns why a message cannot be escalated after a time: an error that
	// wraps ErrEscalation or ErrNoEscalator. It does not wait.
	CheckEscalation(after time.Duration) error
	// Escalate returns when the escalation is stored. A second one for the same message may
	// be stored, but is reported with the same identifier. The error is store.ErrFull if
	// its bound is reached.
	Escalate(ctx context.Context, e Escalation) error
}

// MinEscalation is the least Entry.Escalate.
const MinEscalation = time.Second

var (
	// ErrEscalation: Entry.Escalate is out of range, or the message is for a topic.
	ErrEscalation = errors.New("server: bad escalation")
	// ErrNoEscalator: Config.Escalator is nil, or has nothing to report to.
	ErrNoEscalator = errors.New("server: unread messages are not reported")
)

// checkEscalation checks Entry.Escalate.
func (srv *Server) checkEscalation(box store.Box, e *Entry) error {
	switch {
	case e.Escalate == 0:
		return nil
	case box.User == "":
		return fmt.Errorf("%w: a message to a topic has no user who acknowledges it; want a message to a user", ErrEscalation)
	case srv.cfg.Escalator == nil:
		return ErrNoEscalator
	case e.Escalate < MinEscalation:
		return fmt.Errorf("%w: the time is %v, want at least %v", ErrEscalation, e.Escalate, MinEscalation)
	case e.TTL > 0 && e.Escalate > e.TTL:
		return fmt.Errorf("%w: the time is %v, and the message expires after %v; want a shorter time", ErrEscalation, e.Escalate, e.TTL)
	}
	return srv.cfg.Escalator.CheckEscalation(e.Escalate)
}

// escalate stores the escalation of a message that is stored.
func (p *Pending) escalate(ctx context.Context, st Stored) error {
	if p.due.IsZero() {
		return nil
	}
	err := p.srv.cfg.Escalator.Escalate(ctx, Escalation{User: p.box.User, ID: p.id, Epoch: st.Epoch, Offset: st.Offset, Due: p.due})
	if err != nil {
		return fmt.Errorf("the message is stored, and its escalation is not; repeat it with the same id: %w", err)
	}
	return nil
}

// HistoryQuery says which stored messages to read, and History is what was read.
type (
	HistoryQuery = store.HistoryQuery
	History      = store.History
)

// ErrNoWait is the error of AwaitMessages while the server drains, or its store moves to
// another process.
var ErrNoWait = errors.New("server: draining or moving to another process: nothing may wait for messages")

// Messages reads stored messages, and acknowledges nothing. The error is ErrNoStore,
// ErrNotDurable or one of package store.
func (srv *Server) Messages(ctx context.Context, box store.Box, q HistoryQuery) (History, error) {
	if err := srv.hasHistory(box); err != nil {
		return History{}, err
	}
	p, err := srv.history.Read(ctx, box, q)
	return History(p), err
}

// AwaitMessages is Messages, but if there is neither a message nor a gap it waits for one, at
// most for d: a message that any node of the cluster stores. If none comes, History has no
// messages. This holds also when the server begins to drain, or its store to move to
// another process; if it has begun before, the error is ErrNoWait. When ctx is done its error
// is returned. The caller bounds the number of calls in progress.
func (srv *Server) AwaitMessages(ctx context.Context, box store.Box, q HistoryQuery, d time.Duration) (History, error) {
	if err := srv.hasHistory(box); err != nil {
		return History{}, err
	}
	p, err := srv.history.Await(ctx, box, q, d)
	if errors.Is(err, history.ErrEnded) {
		err = ErrNoWait
	}
	return History(p), err
}

func (srv *Server) hasHistory(box store.Box) error {
	switch {
	case srv.store == nil:
		return ErrNoStore
	case box.User == "" && !srv.Durable(box.Topic):
		return fmt.Errorf("%w: %q", ErrNotDurable, box.Topic)
	}
	return nil
}

// newHistory returns the history of the store, which is not nil.
func newHistory(srv *Server) *history.Service {
	cfg := history.Config{Store: srv.store}
	if srv.cluster != nil {
		cfg.Cluster = historyCluster{srv.cluster}
	}
	return history.New(cfg)
}

// historyCluster is a cluster as package history sees it.
type historyCluster struct{ cluster Cluster }

func (c historyCluster) Hold(b store.Box)    { c.cluster.Hold(Target(b)) }
func (c historyCluster) Release(b store.Box) { c.cluster.Release(Target(b)) }
func (c historyCluster) Sync(ctx context.Context, b store.Box) error {
	return c.cluster.Sync(ctx, Target(b))
}

// recheckStored looks for messages that other nodes could not announce.
func (srv *Server) recheckStored() {
	srv.replay.Recheck()
	srv.history.Recheck()
}

// resumeHistory permits AwaitMessages again, unless the server drains.
func (srv *Server) resumeHistory() {
	if srv.history == nil {
		return
	}
	if srv.history.Resume(); srv.Status() >= Draining {
		srv.history.End()
	}
}
