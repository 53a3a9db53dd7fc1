package handover

import (
	"context"
	"errors"
	"fmt"
)

// Destination is the server that sessions move to, as Take sees it.
type Destination interface {
	// Continue continues the counters of the other process.
	Continue(Counters)
	// Prepare makes a session of a state and a descriptor, which belongs to the session
	// afterwards, unless there is an error. Nothing is sent, received or counted yet.
	Prepare(fd int, st *State) (Arrival, error)
}

// Arrival is a session that Destination.Prepare has made.
type Arrival interface {
	// Adopt serves the session.
	Adopt()
	// Discard gives it up without a word to the client.
	Discard()
}

// taker is one Take.
type taker struct {
	dst  Destination
	link *Link
	fds  map[uint64]int // descriptors of connections that have not moved

	round []arriving
	moved int

	finished chan struct{} // closed when all have moved
}

// arriving is a session of the present round.
type arriving struct {
	state   *State
	arrival Arrival // nil: refused
}

// Take takes the sessions of the process at the other end of a Link, which calls Give. It
// starts the Link, and returns when all sessions are here, or with an error when the other
// process has given up or has ended: those that had moved by then are served, and the others
// belong to the other process. connected is called, before Take returns, if all have moved.
func Take(ctx context.Context, dst Destination, l *Link, connected func()) (moved int, err error) {
	t := &taker{dst: dst, link: l, fds: make(map[uint64]int), finished: make(chan struct{})}
	l.handle = t.handle
	stop := context.AfterFunc(ctx, l.Close)
	defer stop()
	l.cfg.Go(l.Run)
	select {
	case <-t.finished:
	case <-l.over:
	}
	defer t.discard()
	select {
	case <-t.finished:
		connected()
		return t.moved, nil
	default:
	}
	if ctx.Err() != nil {
		return t.moved, fmt.Errorf("%w: %w", ErrFailed, ctx.Err())
	}
	return t.moved, fmt.Errorf("%w: the other process has ended it: %w", ErrFailed, l.ended())
}

// handle handles one message of the giver, on the goroutine that reads the stream.
func (t *taker) handle(m *Message) error {
	select {
	case <-t.finished:
		return fmt.Errorf("%w: %v after the end", ErrFailed, m.Kind)
	default:
	}
	switch m.Kind {
	case Begin:
		return t.begin(m)
	case Descriptors:
		return t.keep(m)
	case Sync:
		return t.link.wire.Write(Synced, nil)
	case Sessions:
		return t.gather(m)
	case Prepare:
		return t.prepare()
	case Commit:
		return t.commit(m)
	case Done:
		err := t.link.wire.Write(Finished, nil)
		if err == nil {
			close(t.finished)
		}
		return err
	}
	return fmt.Errorf("%w: unexpected %v", ErrFailed, m.Kind)
}

func (t *taker) begin(m *Message) error {
	var first beginning
	if err := m.Decode(&first); err != nil {
		return err
	}
	if err := first.check(); err != nil {
		return err
	}
	t.dst.Continue(first.Counters)
	return t.link.wire.Write(Ready, &beginning{Version: Version})
}

// keep keeps the descriptors of connections that are going to move.
func (t *taker) keep(m *Message) error {
	var d descriptors
	if err := m.Decode(&d); err != nil {
		return err
	}
	if len(d.IDs) != len(m.FDs) {
		return fmt.Errorf("%w: %d descriptors for %d connections", ErrFailed, len(m.FDs), len(d.IDs))
	}
	for i, id := range d.IDs {
		if old, ok := t.fds[id]; ok {
			closeAll([]int{old})
		}
		t.fds[id] = m.FDs[i]
	}
	m.FDs = nil
	return nil
}

// gather adds sessions to the round.
func (t *taker) gather(m *Message) error {
	var states []*State
	if err := m.Decode(&states); err != nil {
		return err
	}
	for _, st := range states {
		if st == nil {
			return errors.New("handover: session without a state")
		}
		t.round = append(t.round, arriving{state: st})
	}
	return nil
}

// prepare makes the sessions of the round, and tells the giver which of them cannot be served.
func (t *taker) prepare() error {
	var p prepared
	for i := range t.round {
		a := &t.round[i]
		id := a.state.Conn.ID
		fd, ok := t.fds[id]
		err := errors.New("handover: no descriptor has come")
		if ok {
			a.arrival, err = t.dst.Prepare(fd, a.state)
		}
		if err == nil {
			delete(t.fds, id)
			continue
		}
		a.arrival = nil
		if p.Refused == nil {
			p.Refused = make(map[uint64]string)
		}
		p.Refused[id] = err.Error()
	}
	return t.link.wire.Write(Prepared, &p)
}

// commit serves the sessions of the round.
func (t *taker) commit(m *Message) error {
	var c committed
	if err := m.Decode(&c); err != nil {
		return err
	}
	without := make(map[uint64]bool)
	for _, id := range c.Without {
		without[id] = true
	}
	for _, a := range t.round {
		switch {
		case a.arrival == nil:
		case without[a.state.Conn.ID]:
			a.arrival.Discard()
		default:
			a.arrival.Adopt()
			t.moved++
		}
	}
	t.round = nil
	return nil
}

// discard gives up what has not moved.
func (t *taker) discard() {
	for _, a := range t.round {
		if a.arrival != nil {
			a.arrival.Discard()
		}
	}
	for _, fd := range t.fds {
		closeAll([]int{fd})
	}
	t.round, t.fds = nil, nil
}
