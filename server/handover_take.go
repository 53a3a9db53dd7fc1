package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"

	"fanfare/registry"
	"fanfare/server/internal/handover"
)

// taker is a TakeOver.
type taker struct {
	srv  *Server
	link *link
	fds  map[uint64]int // descriptors of connections that have not moved

	round []arriving
	moved int

	finished chan struct{} // closed when all have moved
}

// arriving is a session of the present round.
type arriving struct {
	id      uint64
	session *Session // nil: refused
	state   *sessionState
}

// TakeOver takes the connections of another process, which calls HandOver at the other end of
// conn, a Unix stream socket that belongs to the Server afterwards. It is called before Start
// and Serve, and once. Config.Started is that of the other process. Endpoints are found by
// their path, those of Mounts too, which must exist before.
//
// It returns when all sessions are here, or with an error when the other process has given up,
// or has ended: the sessions that had moved by then are served, and the others belong to the
// other process. Messages that are pushed in this process, by hooks of sessions that have
// moved, wait until then.
func (srv *Server) TakeOver(ctx context.Context, conn *net.UnixConn) (sessions int, err error) {
	t := &taker{srv: srv, link: newLink(srv, handover.New(conn)), fds: make(map[uint64]int), finished: make(chan struct{})}
	t.link.handle = t.take
	srv.moving.Lock()
	defer srv.moving.Unlock()
	srv.users.SetLimits(unlimited)
	stop := context.AfterFunc(ctx, func() { t.link.wire.Close() })
	defer stop()
	srv.background.Go(t.link.run)
	select {
	case <-t.finished:
	case <-t.link.over:
	}
	srv.users.SetLimits(srv.live().limits())
	select {
	case <-t.finished:
		if srv.cluster == nil {
			srv.peer = t.link // until unlink
		}
		t.discard()
		return t.moved, nil
	default:
	}
	t.discard()
	if ctx.Err() != nil {
		return t.moved, fmt.Errorf("%w: %w", ErrHandOver, ctx.Err())
	}
	return t.moved, fmt.Errorf("%w: the other process has ended it: %w", ErrHandOver, t.link.ended())
}

// unlimited lets users keep the sessions and topics that they have.
var unlimited = registry.Limits{SessionsPerUser: math.MaxInt32, TopicsPerSession: math.MaxInt32}

// take handles one message of the giver, on the goroutine that reads the stream. If it cannot,
// it tells the giver why.
func (t *taker) take(m *handover.Message) error {
	err := t.handle(m)
	if err != nil {
		t.link.wire.Write(handover.Failed, err.Error())
	}
	return err
}

func (t *taker) handle(m *handover.Message) error {
	select {
	case <-t.finished:
		return fmt.Errorf("%w: %v after the end", ErrHandOver, m.Kind)
	default:
	}
	switch m.Kind {
	case handover.Begin:
		return t.begin(m)
	case handover.Descriptors:
		return t.keep(m)
	case handover.Sync:
		return t.link.wire.Write(handover.Synced, nil)
	case handover.Sessions:
		return t.prepare(m)
	case handover.Prepare:
		return t.answer()
	case handover.Commit:
		return t.commit(m)
	case handover.Done:
		err := t.link.wire.Write(handover.Finished, nil)
		if err == nil {
			close(t.finished)
		}
		return err
	}
	return fmt.Errorf("%w: unexpected %v", ErrHandOver, m.Kind)
}

func (t *taker) begin(m *handover.Message) error {
	var first beginning
	if err := m.Decode(&first); err != nil {
		return err
	}
	if err := first.check(); err != nil {
		return err
	}
	t.srv.engine.ContinueIDs(first.LastID)
	if t.srv.replay != nil {
		t.srv.replay.ContinuePings(first.LastPing)
	}
	return t.link.wire.Write(handover.Ready, &beginning{Version: handover.Version})
}

// keep keeps the descriptors of connections that are going to move.
func (t *taker) keep(m *handover.Message) error {
	var d descriptorsOf
	if err := m.Decode(&d); err != nil {
		return err
	}
	if len(d.IDs) != len(m.FDs) {
		return fmt.Errorf("%w: %d descriptors for %d connections", ErrHandOver, len(m.FDs), len(d.IDs))
	}
	for i, id := range d.IDs {
		if old, ok := t.fds[id]; ok {
			closeFD(old)
		}
		t.fds[id] = m.FDs[i]
	}
	m.FDs = nil
	return nil
}

// prepare makes sessions of their states.
func (t *taker) prepare(m *handover.Message) error {
	var states []*sessionState
	if err := m.Decode(&states); err != nil {
		return err
	}
	for _, st := range states {
		if st == nil {
			return errors.New("server: session without a state")
		}
		t.round = append(t.round, arriving{id: st.Conn.ID, state: st})
	}
	return nil
}

// answer tells the giver which sessions of the round cannot be served.
func (t *taker) answer() error {
	var p prepared
	for i := range t.round {
		a := &t.round[i]
		fd, ok := t.fds[a.id]
		err := errors.New("server: no descriptor has come")
		if ok {
			a.session, err = t.srv.prepareImport(fd, a.state)
		}
		if err == nil {
			delete(t.fds, a.id)
			continue
		}
		a.session = nil
		if p.Refused == nil {
			p.Refused = make(map[uint64]string)
		}
		p.Refused[a.id] = err.Error()
	}
	return t.link.wire.Write(handover.Prepared, &p)
}

// commit serves the sessions of the round.
func (t *taker) commit(m *handover.Message) error {
	var c committed
	if err := m.Decode(&c); err != nil {
		return err
	}
	without := make(map[uint64]bool)
	for _, id := range c.Without {
		without[id] = true
	}
	for _, a := range t.round {
		if a.session != nil && !without[a.id] {
			a.session.adopt(a.state)
			t.moved++
		}
	}
	t.round = nil
	return nil
}

// discard gives up what has not moved.
func (t *taker) discard() {
	for _, a := range t.round {
		if a.session != nil {
			a.session.conn.Discard()
			a.session.dec.Release()
		}
	}
	for _, fd := range t.fds {
		closeFD(fd)
	}
	t.round, t.fds = nil, nil
}
