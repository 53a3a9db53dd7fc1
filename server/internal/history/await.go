package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server/store"
)

// Config configures a Service.
type Config struct {
	// Store holds the messages. Required.
	Store store.Store
	// Cluster subscribes this node to the notices that other nodes send for a box; nil on a single node.
	Cluster Cluster
	// Settle is how long after the start of a wait the store is asked once more, for
	// messages of a node that had not heard of the wait when it stored them. Default 2s;
	// used only with Cluster.
	Settle time.Duration
}

// Cluster is what a Service needs of the other nodes.
type Cluster interface {
	// Hold subscribes this node to notices of messages in a box, until Release.
	Hold(b store.Box)
	Release(b store.Box)
	// Sync returns when the notices come of what is stored from now on.
	Sync(ctx context.Context, b store.Box) error
}

// Service reads stored messages. All methods may be called from any goroutine.
type Service struct {
	cfg Config // immutable

	// count is the number of waiters. Atomic, so that Stored is cheap without any.
	count atomic.Int64

	mu      sync.Mutex
	waiters map[store.Box][]*waiter // guarded by mu
	ended   chan struct{}           // closed by End; guarded by mu
	ending  bool                    // ended is closed; guarded by mu
}

// waiter is a call of Await in progress.
type waiter struct {
	woken chan struct{}   // has room for one
	ended <-chan struct{} // of the Service
}

// ErrEnded is the error of Await between End and Resume.
var ErrEnded = errors.New("history: no caller may wait now")

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Settle == 0 {
		cfg.Settle = 2 * time.Second
	}
	return &Service{cfg: cfg, waiters: make(map[store.Box][]*waiter), ended: make(chan struct{})}
}

// Await is Read, but if there is neither a message nor a gap it waits for one: at most for d,
// and then returns an empty page. After End it returns an empty page, too; if End was called
// before, the error is ErrEnded. When ctx is done the page comes with the error of ctx.
func (v *Service) Await(ctx context.Context, b store.Box, q Query, d time.Duration) (Page, error) {
	w, err := v.enter(b)
	if err != nil {
		return Page{}, err
	}
	defer v.leave(b, w)
	over := time.NewTimer(d)
	defer over.Stop()
	var settled <-chan time.Time
	if c := v.cfg.Cluster; c != nil {
		c.Hold(b)
		defer c.Release(b)
		if err := v.sync(ctx, b, d); err != nil {
			return Page{}, err
		}
		settle := time.NewTimer(v.cfg.Settle)
		defer settle.Stop()
		settled = settle.C
	}
	for last := false; ; {
		p, err := v.Read(ctx, b, q)
		if err != nil || p.says() {
			return p, err
		}
		q.After, q.Epoch = p.Next, p.Epoch
		switch {
		case p.More > 0: // only messages that have expired were read
			continue
		case last:
			return p, nil
		}
		select {
		case <-w.woken:
		case <-settled:
		case <-over.C:
			last = true
		case <-w.ended:
			return p, nil
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}

// sync waits for the other nodes, but not for longer than d: Await then reads at its end.
func (v *Service) sync(ctx context.Context, b store.Box, d time.Duration) error {
	bound, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := v.cfg.Cluster.Sync(bound, b)
	switch {
	case err == nil, bound.Err() != nil && ctx.Err() == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

func (v *Service) enter(b store.Box) (*waiter, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending {
		return nil, ErrEnded
	}
	w := &waiter{woken: make(chan struct{}, 1), ended: v.ended}
	v.waiters[b] = append(v.waiters[b], w)
	v.count.Add(1) // before the store is read: a Stored that misses w precedes that
	return w, nil
}

func (v *Service) leave(b store.Box, w *waiter) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count.Add(-1)
	all := v.waiters[b]
	i := slices.Index(all, w)
	if all = slices.Delete(all, i, i+1); len(all) == 0 {
		delete(v.waiters, b)
	} else {
		v.waiters[b] = all
	}
}

// Waiting returns the number of callers of Await.
func (v *Service) Waiting() int { return int(v.count.Load()) }

// Stored wakes the callers that wait for a message in a box. It does not block.
func (v *Service) Stored(b store.Box) {
	if v.count.Load() == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	wake(v.waiters[b])
}

// Recheck wakes all callers, after a time in which notices may have been lost.
func (v *Service) Recheck() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, all := range v.waiters {
		wake(all)
	}
}

func wake(all []*waiter) {
	for _, w := range all {
		select {
		case w.woken <- struct{}{}:
		default: // it is woken already
		}
	}
}

// End ends all waits, and permits none until Resume.
func (v *Service) End() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.ending {
		v.ending = true
		close(v.ended)
	}
}

// Resume takes an End back.
func (v *Service) Resume() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending {
		v.ending, v.ended = false, make(chan struct{})
	}
}
