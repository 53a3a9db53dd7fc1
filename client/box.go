package client

import (
	"context"
	"sync"
	"time"
)

// box is the inbox or a durable topic: it drops duplicates, calls the handler in order, and
// keeps the position up to which it has succeeded. Its goroutine runs only while there is
// something to do.
//
// Offsets of one history are comparable, whatever the names of its epochs: a restart of the
// server renames the epoch, and a loss of messages, which comes with a gap, begins another
// history.
type box struct {
	c       *Client
	topic   string // empty: the inbox
	key     string
	handler Handler
	ctx     context.Context // ends with Run, and with the subscription
	cancel  context.CancelFunc

	flushing sync.Mutex // held while a position is stored; before mu

	mu       sync.Mutex
	placed   bool      // in the present session
	received *Position // the last message received
	history  int
	handled  *Position // the last message handled
	saved    *Position // in the store
	acked    *uint64   // offset to acknowledge
	unsent   bool      // acked is not sent in this session
	items    []*item
	running  bool
}

// item is a message that waits for its handler, or the begin of a box.
type item struct {
	box      *box
	history  int
	position *Position
	gap      bool
	message  *Message // nil: a begin
	skip     bool     // guarded by box.mu: acknowledged by Message.Ack
	retry    chan struct{}
}

// load reads the stored position, until the store answers.
func (b *box) load() error {
	for failures := 0; ; failures++ {
		p, ok, err := b.c.cfg.Store.Load(b.ctx, b.key)
		if err == nil {
			if ok {
				b.mu.Lock()
				b.received, b.handled, b.saved = &p, &p, &p
				b.mu.Unlock()
			}
			return nil
		}
		b.c.cfg.Error(&StoreError{b.key, err})
		if err := sleep(b.ctx, b.c.cfg.backoff(failures, delay{}), nil); err != nil {
			return err
		}
	}
}

// begin takes hello or the confirmation of a subscription.
func (b *box) begin(o *object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := o.position()
	if ok {
		b.move(p, o.Gap)
		b.unsent = b.acked != nil // the connection may have broken before the last one arrived
	}
	b.placed = ok
	it := &item{box: b, history: b.history, gap: o.Gap}
	if ok {
		it.position = &p
	}
	if o.Gap || ok && b.handled == nil {
		b.items = append(b.items, it)
	}
	b.wake()
}

// receive takes a stored message.
func (b *box) receive(o *object, p Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.received; r != nil && r.Epoch == p.Epoch && p.Offset <= r.Offset {
		return // a duplicate
	}
	b.move(p, o.Gap)
	b.placed = true
	m := o.message()
	m.item = &item{box: b, history: b.history, position: &p, gap: o.Gap, message: m, retry: make(chan struct{}, 1)}
	b.items = append(b.items, m.item)
	b.c.addPending(len(m.Data))
	b.wake()
}

// move notes a new position. The caller holds mu.
func (b *box) move(p Position, gap bool) {
	r := b.received
	switch {
	case r != nil && r.Epoch == p.Epoch:
		if p.Offset > r.Offset {
			b.received = &p
		}
	case r == nil || gap:
		b.history++
		b.received, b.handled, b.acked, b.unsent = &p, nil, nil, false
	default:
		b.received = &Position{max(r.Offset, p.Offset), p.Epoch}
		if b.handled != nil {
			b.handled = &Position{b.handled.Offset, p.Epoch}
		}
	}
}

// lost is called when the session has ended.
func (b *box) lost() {
	b.mu.Lock()
	b.placed = false
	b.mu.Unlock()
}

// place returns where to resume.
func (b *box) place() *Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.received
}

// wake starts the goroutine. The caller holds mu.
func (b *box) wake() {
	if !b.running && b.ctx.Err() == nil {
		b.running = true
		b.c.tasks.Go(b.run)
	}
}

func (b *box) run() {
	for failures := 0; ; {
		b.flush()
		b.mu.Lock()
		if b.ctx.Err() != nil {
			b.drop()
		}
		if len(b.items) == 0 {
			b.running = b.owes() && b.ctx.Err() == nil
			again := b.running
			b.mu.Unlock()
			if !again {
				return
			}
			continue
		}
		it := b.items[0]
		b.mu.Unlock()
		if !b.handle(it) {
			sleep(b.ctx, b.c.cfg.backoff(failures, delay{}), it.retry)
			failures++
			continue
		}
		failures = 0
		if b.ctx.Err() != nil {
			continue // it may have been handled, and is not acknowledged
		}
		b.mu.Lock()
		b.items = b.items[1:]
		if it.message == nil || !b.c.cfg.ManualAck {
			b.take(it)
		}
		b.mu.Unlock()
		if it.message != nil {
			b.c.addPending(-len(it.message.Data))
		}
	}
}

// drop forgets what waits. The caller holds mu.
func (b *box) drop() {
	for _, it := range b.items {
		if it.message != nil {
			b.c.addPending(-len(it.message.Data))
		}
	}
	b.items = nil
}

// handle reports a gap and calls the handler, and reports whether it has succeeded.
func (b *box) handle(it *item) bool {
	if it.gap {
		b.c.cfg.Gap(b.ctx, b.topic)
		it.gap = false
	}
	if it.message == nil || b.handler == nil || it.skipped() {
		return true
	}
	err := b.handler(b.ctx, it.message)
	if err == nil || b.ctx.Err() != nil {
		return true
	}
	b.c.cfg.Error(&HandlerError{it.message, err})
	return it.skipped()
}

func (it *item) skipped() bool {
	it.box.mu.Lock()
	defer it.box.mu.Unlock()
	return it.skip
}

// ack is Message.Ack.
func (b *box) ack(it *item) {
	b.mu.Lock()
	it.skip = true
	b.take(it)
	b.mu.Unlock()
	select {
	case it.retry <- struct{}{}:
	default:
	}
	b.flush()
}

// take notes that an item is handled. The caller holds mu.
func (b *box) take(it *item) {
	p := it.position
	if p == nil || it.history != b.history || b.handled != nil && b.handled.Offset >= p.Offset {
		return
	}
	if it.message != nil {
		if b.handler == nil {
			return // no handler has seen it
		}
		b.acked, b.unsent = &p.Offset, true
	}
	b.handled = &Position{p.Offset, b.received.Epoch}
}

// owes reports whether flush has something to do. The caller holds mu.
func (b *box) owes() bool { return b.dirty() || b.unsent && b.placed }

func (b *box) dirty() bool {
	return b.handled != nil && (b.saved == nil || *b.saved != *b.handled)
}

// flush stores the position, and then acknowledges it.
func (b *box) flush() {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	for failures := 0; b.ctx.Err() == nil; {
		b.mu.Lock()
		if b.dirty() {
			p := *b.handled
			b.mu.Unlock()
			if err := b.c.cfg.Store.Save(b.ctx, b.key, p); err != nil {
				b.c.cfg.Error(&StoreError{b.key, err})
				sleep(b.ctx, b.c.cfg.backoff(failures, delay{}), nil)
				failures++
				continue
			}
			b.mu.Lock()
			b.saved = &p
			b.mu.Unlock()
			continue
		}
		if !b.unsent || !b.placed {
			b.mu.Unlock()
			return
		}
		b.unsent = false
		cmd := command{Type: "ack", Topic: b.topic, Offset: b.acked, Epoch: b.received.Epoch}
		b.mu.Unlock()
		b.c.send(cmd)
		return
	}
}

// sleep waits for d, or for something on early. It returns the error of ctx.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-ctx.Done():
	}
	return ctx.Err()
}
