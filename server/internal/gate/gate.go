package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"fanfare/server/store"
)

// ErrMoved: the store belongs to another process, which has ended.
var ErrMoved = fmt.Errorf("%w: another process has the store, and does not answer", store.ErrUnavailable)

// errReleased is what Release returns if it was called before.
var errReleased = errors.New("server: the store is released already")

// Successor is the process that the store has moved to.
type Successor interface {
	// Begin takes the place of an entry in the order of its box, and does not wait. The
	// function that it returns waits until the entry is stored.
	Begin(b store.Box, e store.Entry) (finish func() (Stored, error))
	// Purge is store.Store.Purge.
	Purge(b store.Box) (uint64, error)
}

// Stored is what Pending.Finish returns.
type Stored struct {
	// Moved says that the successor has stored the entry and sent it to Receivers sessions.
	// Of Receipt only the Offset is set then.
	Moved     bool
	Receivers int

	store.Receipt
	Epoch string // of the box when the entry was stored; empty: the store was not available
	Began string // the same when its place was taken; for a Stored that has not Moved
}

// Gate is the gate to one store. Its methods may be called by any number of goroutines.
type Gate struct {
	store store.Store

	mu        sync.Mutex
	state     state
	begun     int           // calls that the store has and that are not finished
	idle      chan struct{} // closed when begun is 0; nil: nothing waits for that
	waiting   []*Pending    // while released
	changed   chan struct{} // closed at the end of the state released; nil in any other
	successor Successor     // once moved
}

type state uint8

const (
	open state = iota
	released
	moved
)

// New returns an open Gate.
func New(st store.Store) *Gate { return &Gate{store: st} }

// Pending is an entry that has its place in the order of its box.
type Pending struct {
	gate  *Gate
	box   store.Box
	entry store.Entry
	ready chan struct{} // closed when began or finish is set; nil: began was set at once

	began   store.Pending // the store has it
	epoch   string        // of the box when the store got it
	forward func() (Stored, error)
}

// Begin takes the place of an entry in the order of its box. Pending.Finish must be called.
func (g *Gate) Begin(b store.Box, e store.Entry) *Pending {
	p := &Pending{gate: g, box: b, entry: e}
	g.mu.Lock()
	if g.state == open {
		g.begun++
		g.mu.Unlock()
		p.pass()
		return p
	}
	defer g.mu.Unlock()
	p.ready = make(chan struct{})
	if g.state == released {
		g.waiting = append(g.waiting, p)
	} else {
		p.hand(g.successor)
	}
	return p
}

// pass gives the entry to the store.
func (p *Pending) pass() {
	p.epoch = p.gate.store.Epoch(p.box)
	p.began = p.gate.store.Begin(p.box, p.entry)
}

// hand gives the entry to the successor. The caller holds mu.
func (p *Pending) hand(to Successor) {
	p.forward = to.Begin(p.box, p.entry)
	close(p.ready)
}

// Finish returns when the entry is stored. It is called exactly once, from any goroutine. If
// ctx is done while the entry waits for the gate, it is not stored.
func (p *Pending) Finish(ctx context.Context) (Stored, error) {
	g := p.gate
	if p.ready != nil {
		select {
		case <-p.ready:
		case <-ctx.Done():
			g.cancel(p)
			return Stored{}, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		}
	}
	if p.began == nil {
		return p.forward()
	}
	defer g.finished()
	r, err := p.began.Finish(ctx)
	if err != nil {
		return Stored{}, err
	}
	return Stored{Receipt: r, Epoch: g.store.Epoch(p.box), Began: p.epoch}, nil
}

// finished is called when a call that has passed has ended.
func (g *Gate) finished() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.begun--; g.begun == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// cancel takes an entry out of the queue. One that has passed meanwhile is finished.
func (g *Gate) cancel(p *Pending) {
	g.mu.Lock()
	if i := slices.Index(g.waiting, p); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	passed := p.began != nil
	g.mu.Unlock()
	if passed {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.began.Finish(ctx)
		g.finished()
	}
}

// Purge waits until the store is here, and then calls its Purge.
func (g *Gate) Purge(ctx context.Context, b store.Box) (uint64, error) {
	for {
		g.mu.Lock()
		state, changed, successor := g.state, g.changed, g.successor
		if state == open {
			g.begun++
		}
		g.mu.Unlock()
		switch state {
		case open:
			defer g.finished()
			return g.store.Purge(ctx, b)
		case moved:
			return successor.Purge(b)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		}
	}
}

// Release makes the store unused: what is to be stored waits from then on, until Restore or
// Move. It returns when the calls in progress have ended. If ctx is done before, nothing has
// changed.
func (g *Gate) Release(ctx context.Context) error {
	g.mu.Lock()
	if g.state != open {
		g.mu.Unlock()
		return errReleased
	}
	g.state, g.changed = released, make(chan struct{})
	var idle chan struct{}
	if g.begun > 0 {
		idle = make(chan struct{})
		g.idle = idle
	}
	g.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		g.mu.Lock()
		g.idle = nil
		g.mu.Unlock()
		g.Restore()
		return fmt.Errorf("server: messages are being stored: %w", ctx.Err())
	}
}

// Restore takes a Release back: what waits passes.
func (g *Gate) Restore() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != released {
		return
	}
	g.leaveReleased(open)
	for _, p := range g.waiting {
		g.begun++
		p.pass()
		close(p.ready)
	}
	g.waiting = nil
}

// Move has the successor store what waits, and everything that follows. It has no effect
// unless the store is released.
func (g *Gate) Move(to Successor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != released {
		return
	}
	g.leaveReleased(moved)
	g.successor = to
	for _, p := range g.waiting {
		p.hand(to)
	}
	g.waiting = nil
}

func (g *Gate) leaveReleased(next state) {
	g.state = next
	close(g.changed)
	g.changed = nil
}

// Waiting returns the number of entries that wait for the gate.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}
