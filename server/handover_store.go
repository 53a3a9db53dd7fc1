package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fanfare/server/store"
)

// storeGate lets messages through to the store. While the store is moving to another process,
// which only one may use at a time, messages to store wait in order:
//
//	open ── ReleaseStore ──▶ released ── RestoreStore ──▶ open
//	                            │
//	                            └── HandOver succeeds ──▶ moved: the successor stores them
type storeGate struct {
	mu      sync.Mutex
	state   gateState
	begun   int           // messages that the store has and that are not finished
	idle    chan struct{} // closed when begun is 0; nil: nothing waits for that
	waiting []*laterEntry // while released
	peer    *link         // once moved
}

type gateState uint8

const (
	gateOpen gateState = iota
	gateReleased
	gateMoved
)

// laterEntry is a message that waits for the gate.
type laterEntry struct {
	p     *Pending
	entry store.Entry
	ready chan struct{} // closed when p.pending is set, or reply
	reply <-chan peerReply
}

// ErrStoreMoved: the store belongs to another process, which has ended.
var ErrStoreMoved = fmt.Errorf("%w: another process has the store, and does not answer", store.ErrUnavailable)

// begin takes the place of a message in the order of its box.
func (g *storeGate) begin(p *Pending, e store.Entry) {
	g.mu.Lock()
	if g.state == gateOpen {
		g.begun++
		g.mu.Unlock()
		p.pass(e)
		return
	}
	defer g.mu.Unlock()
	switch g.state {
	case gateReleased:
		p.later = &laterEntry{p: p, entry: e, ready: make(chan struct{})}
		g.waiting = append(g.waiting, p.later)
	case gateMoved:
		p.later = &laterEntry{p: p, entry: e, ready: make(chan struct{})}
		g.forward(p.later)
	}
}

// pass gives a message to the store.
func (p *Pending) pass(e store.Entry) {
	p.epoch = p.srv.store.Epoch(p.box)
	p.pending = p.srv.store.Begin(p.box, e)
}

// forward gives a message to the successor. The caller holds mu.
func (g *storeGate) forward(l *laterEntry) {
	t := Target(l.p.box)
	op := Text
	if l.entry.Binary {
		op = Binary
	}
	l.reply = g.peer.ask(peerCommand{Box: &t, Entry: &peerEntry{op, l.entry.Payload, l.entry.ID, int64(l.entry.TTL)}})
	close(l.ready)
}

// finished is called when a message that has passed is stored, or cannot be.
func (g *storeGate) finished() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.begun--; g.begun == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// await waits until the message has passed the gate, or the successor has stored it: done.
func (p *Pending) await(ctx context.Context) (st Stored, done bool, err error) {
	select {
	case <-p.later.ready:
	case <-ctx.Done():
		p.srv.gate.cancel(p)
		return st, false, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	if p.pending != nil {
		return st, false, nil
	}
	r, ok := p.srv.gate.peer.wait(p.later.reply, peerTimeout)
	if !ok {
		return st, false, ErrStoreMoved
	}
	return Stored{r.Epoch, r.Offset, Delivery{Receivers: r.Reply.Count}}, true, r.err()
}

// cancel takes a message out of the queue of the gate. A message that has passed meanwhile is
// finished.
func (g *storeGate) cancel(p *Pending) {
	g.mu.Lock()
	for i, l := range g.waiting {
		if l.p == p {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
		}
	}
	passed := p.pending != nil
	g.mu.Unlock()
	if passed {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p.pending.Finish(ctx)
		g.finished()
	}
}

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
	g := &srv.gate
	g.mu.Lock()
	if g.state != gateOpen {
		g.mu.Unlock()
		return errors.New("server: the store is released already")
	}
	g.state = gateReleased
	var idle chan struct{}
	if g.begun > 0 {
		idle = make(chan struct{})
		g.idle = idle
	}
	g.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			g.mu.Lock()
			g.idle = nil
			g.mu.Unlock()
			srv.RestoreStore()
			return fmt.Errorf("server: messages are being stored: %w", ctx.Err())
		}
	}
	detach()
	srv.replay.Settle()
	return nil
}

// RestoreStore takes a ReleaseStore back: the store works again.
func (srv *Server) RestoreStore() {
	g := &srv.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != gateReleased {
		return
	}
	g.state = gateOpen
	for _, l := range g.waiting {
		g.begun++
		l.p.pass(l.entry)
		close(l.ready)
	}
	g.waiting = nil
}

// moveStore has the successor store the queued messages, and all later ones.
func (srv *Server) moveStore(l *link) {
	g := &srv.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != gateReleased {
		return
	}
	g.state, g.peer = gateMoved, l
	for _, e := range g.waiting {
		g.forward(e)
	}
	g.waiting = nil
}

// Purge deletes the stored messages of a box, and returns how many there were.
func (srv *Server) Purge(ctx context.Context, box store.Box) (uint64, error) {
	if srv.store == nil {
		return 0, ErrNoStore
	}
	g := &srv.gate
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		g.mu.Lock()
		state, peer := g.state, g.peer
		g.mu.Unlock()
		switch state {
		case gateOpen:
			return srv.store.Purge(ctx, box)
		case gateMoved:
			t := Target(box)
			r, ok := peer.wait(peer.ask(peerCommand{Box: &t, Purge: true}), peerTimeout)
			if !ok {
				return 0, ErrStoreMoved
			}
			return r.Offset, r.err()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
		}
	}
}
