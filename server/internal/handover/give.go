package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Source is the server whose sessions move, as Give sees it.
type Source interface {
	// Counters returns what the other process continues.
	Counters() Counters
	// Sessions returns the sessions that may move.
	Sessions() []Session
	// Busy reports whether there are connections that may become movable soon.
	Busy() bool
	// Freeze acquires the read turns of sessions, and returns those whose turn it has.
	Freeze([]Session) []Session
	// StopAccepting stops accepting connections, and AcceptAgain takes that back.
	StopAccepting() error
	AcceptAgain()
	// Lock waits for pushes in progress, and keeps others waiting until Unlock.
	Lock()
	Unlock()
	// Connect has pushes reach the sessions of the other process, too. Lock is held.
	Connect()
	// Refused is called for a session that the other process cannot serve.
	Refused(s Session, why string)
}

// Session is a session that may move. Values are comparable: the same session is equal.
type Session interface {
	ID() uint64
	// WasOpened reports whether the session is open, or closes.
	WasOpened() bool
	// Duplicate returns a descriptor of the connection, which belongs to the caller. The
	// error wraps net.ErrClosed if the connection has ended.
	Duplicate() (fd int, err error)
	// Export returns the state of a frozen session. It returns false, and has changed nothing
	// but what Thaw takes back, if no other process can go on with it.
	Export() (*State, bool)
	// Thaw returns a session that was not exported to the service of this process, and
	// TakeBack one that was.
	Thaw()
	TakeBack(*State)
	// Abandon ends a session that the other process has taken over.
	Abandon()
}

// Counters are counters of the giver that the taker continues.
type Counters struct {
	Tick     uint32 `json:"tick,omitzero"`
	LastID   uint64 `json:"last_id,omitzero"`
	LastPing uint64 `json:"last_ping,omitzero"`
	// Crashed says that the giver is a keeper: the process that had the sessions has died, and
	// what it did at the end is not known.
	Crashed bool `json:"crashed,omitzero"`
}

// beginning is the payload of Begin and Ready.
type beginning struct {
	Version int `json:"version"`
	Counters
}

func (b *beginning) check() error {
	if b.Version != Version {
		return fmt.Errorf("%w: the other process speaks version %d of the protocol, this one %d", ErrFailed, b.Version, Version)
	}
	return nil
}

// descriptors is the payload of Descriptors: the IDs of the connections.
type descriptors struct {
	IDs []uint64 `json:"ids"`
}

// prepared is the payload of Prepared.
type prepared struct {
	Refused map[uint64]string `json:"refused,omitzero"` // why, by ID
}

// committed is the payload of Commit.
type committed struct {
	Without []uint64 `json:"without,omitzero"` // the sessions that stay
}

// Result describes a handover that has succeeded.
type Result struct {
	Sessions int           // that have moved
	Rounds   int           // in which they have moved
	Longest  time.Duration // of a round: how long a session was not served
}

// Timing bounds the steps of a handover.
type Timing struct {
	// Answer bounds the answers of the other process that it gives at once, Round is the
	// same while pushes wait.
	Answer, Round time.Duration
	// Patience is how long Give tries to move connections that are busy, in a TLS handshake,
	// or wait for their Identifier.
	Patience time.Duration
	// First is the number of sessions of the first round.
	First int
}

// DefaultTiming is for handovers between processes of one machine.
var DefaultTiming = Timing{Answer: 5 * time.Second, Round: 2 * time.Second, Patience: 500 * time.Millisecond, First: 1024}

const (
	// roundAim is how long a round should take.
	roundAim = 40 * time.Millisecond
	// minRound and maxRound bound the sessions of a round but the first.
	minRound, maxRound = 64, 1 << 14
	// retryInterval is how often Give looks for connections that were busy.
	retryInterval = 10 * time.Millisecond
	// statesPerMessage keeps messages at a moderate size.
	statesPerMessage = 256
)

// giver is one Give.
type giver struct {
	src     Source
	link    *Link
	timing  Timing
	sent    map[Session]bool // whose descriptor the other process has
	refused map[Session]bool
	result  Result
}

// Give moves the sessions of src to the process at the other end of a Link, whose Run is
// running and which calls Take. After an error src serves everything that the other process
// has not confirmed, and the stream has ended.
func Give(ctx context.Context, src Source, l *Link, t Timing) (Result, error) {
	g := &giver{src: src, link: l, timing: t, sent: make(map[Session]bool), refused: make(map[Session]bool)}
	if err := g.run(ctx); err != nil {
		l.wire.Write(Failed, err.Error())
		l.wire.Close()
		<-l.over
		src.AcceptAgain()
		return Result{}, err
	}
	return g.result, nil
}

func (g *giver) run(ctx context.Context) error {
	if err := g.link.send(Begin, &beginning{Version, g.src.Counters()}); err != nil {
		return err
	}
	var other beginning
	if err := g.link.expect(ctx, Ready, &other, g.timing.Answer); err != nil {
		return err
	}
	if err := other.check(); err != nil {
		return err
	}
	if err := g.sendAhead(ctx, g.src.Sessions()); err != nil {
		return err
	}
	if err := g.src.StopAccepting(); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	if err := g.moveAll(ctx); err != nil {
		return err
	}
	if err := g.link.send(Done, nil); err != nil {
		return err
	}
	if err := g.link.expect(ctx, Finished, nil, g.timing.Answer); err != nil {
		return err
	}
	g.src.Lock()
	g.src.Connect()
	g.src.Unlock()
	return nil
}

// sendAhead sends the descriptors of sessions that were opened, and waits until the other
// process has them, while nothing else has to wait. Those of other connections are sent with
// their round: a plain request may end its connection, which a duplicate in the other process
// would keep open.
func (g *giver) sendAhead(ctx context.Context, all []Session) error {
	var opened []Session
	for _, s := range all {
		if s.WasOpened() {
			opened = append(opened, s)
		}
	}
	n, err := g.sendDescriptors(opened)
	if n == 0 || err != nil {
		return err
	}
	if err := g.link.send(Sync, nil); err != nil {
		return err
	}
	return g.link.expect(ctx, Synced, nil, g.timing.Answer)
}

// sendDescriptors sends the descriptors that the other process does not have, and returns how
// many there were.
func (g *giver) sendDescriptors(all []Session) (n int, err error) {
	var d descriptors
	var fds []int
	flush := func() error {
		if len(fds) == 0 {
			return nil
		}
		err := g.link.send(Descriptors, &d, fds...)
		closeAll(fds)
		d.IDs, fds = d.IDs[:0], fds[:0]
		return err
	}
	for _, s := range all {
		if g.sent[s] {
			continue
		}
		fd, err := s.Duplicate()
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err != nil {
			flush()
			return n, fmt.Errorf("%w: %w", ErrFailed, err)
		}
		g.sent[s] = true
		d.IDs, fds = append(d.IDs, s.ID()), append(fds, fd)
		if n++; len(fds) == MaxDescriptors {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, flush()
}

// moveAll moves the sessions in rounds, until only those are left that cannot move.
func (g *giver) moveAll(ctx context.Context) error {
	until := time.Now().Add(g.timing.Patience)
	size := g.timing.First
	for {
		var all []Session
		for _, s := range g.src.Sessions() {
			if !g.refused[s] {
				all = append(all, s)
			}
		}
		if len(all) == 0 && !g.src.Busy() {
			return nil
		}
		moved := 0
		for len(all) > 0 {
			n := min(size, len(all))
			began := time.Now()
			m, err := g.round(ctx, all[:n])
			if err != nil {
				return err
			}
			if took := time.Since(began); took > 0 && m > 0 {
				size = min(max(int(float64(n)*float64(roundAim)/float64(took)), minRound), maxRound, 2*n)
			}
			all, moved = all[n:], moved+m
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrFailed, ctx.Err())
		case time.Now().After(until):
			return nil
		case moved == 0:
			select {
			case <-time.After(retryInterval):
			case <-ctx.Done():
			}
		}
	}
}

// round moves sessions, and returns how many have moved.
func (g *giver) round(ctx context.Context, all []Session) (moved int, err error) {
	if err := g.sendAhead(ctx, all); err != nil {
		return 0, err
	}
	began := time.Now()
	frozen := g.src.Freeze(all)
	if len(frozen) == 0 {
		return 0, nil
	}
	g.src.Lock()
	defer g.src.Unlock()
	kept, states := frozen[:0], make([]*State, 0, len(frozen))
	for _, s := range frozen {
		if st, ok := s.Export(); ok {
			kept, states = append(kept, s), append(states, st)
		} else {
			s.Thaw()
		}
	}
	if len(kept) == 0 {
		return 0, nil
	}
	answer, err := g.propose(ctx, kept, states)
	if err != nil {
		for i, s := range kept {
			s.TakeBack(states[i])
		}
		return 0, err
	}
	// From here on the other process has them, whatever happens.
	for i, s := range kept {
		if why, no := answer.Refused[s.ID()]; no {
			g.src.Refused(s, why)
			g.refused[s] = true
			s.TakeBack(states[i])
			continue
		}
		delete(g.sent, s)
		s.Abandon()
		moved++
	}
	g.src.Connect()
	g.result.Rounds++
	g.result.Sessions += moved
	g.result.Longest = max(g.result.Longest, time.Since(began))
	return moved, nil
}

// propose sends the states of a round, and commits the sessions that the other process can
// serve. After an error it has none of them.
func (g *giver) propose(ctx context.Context, frozen []Session, states []*State) (p prepared, err error) {
	if _, err := g.sendDescriptors(frozen); err != nil {
		return p, err
	}
	for len(states) > 0 {
		n := min(statesPerMessage, len(states))
		if err := g.link.send(Sessions, states[:n]); err != nil {
			return p, err
		}
		states = states[n:]
	}
	if err := g.link.send(Prepare, nil); err != nil {
		return p, err
	}
	if err := g.link.expect(ctx, Prepared, &p, g.timing.Round); err != nil {
		return p, err
	}
	c := committed{}
	for id := range p.Refused {
		c.Without = append(c.Without, id)
	}
	return p, g.link.send(Commit, &c)
}
