package acme

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	lockPrefix = "lock/"
	// leaseTime is how long a lock lasts whose holder does not renew it any more. It is renewed
	// three times as often.
	leaseTime = 30 * time.Second
)

// leases are the locks that this node holds. A lock is an entry that its holder writes again
// and again; a node that sees no new revision of it for leaseTime, by its own clock, takes it
// over. A write that names another revision than the last fails, so one node wins.
type leases struct {
	time time.Duration // immutable

	mu   sync.Mutex
	held map[string]*lease // by name. guarded by mu
}

// lease is a lock that is held.
type lease struct {
	stop func()        // ends renew; may be called again
	over chan struct{} // closed by stop
	done chan struct{} // closed when it is not renewed any more

	revision uint64 // owned by renew, and after done by Unlock
}

func (ls *leases) init(d time.Duration) { ls.time, ls.held = d, make(map[string]*lease) }

// stop lets the leases run out.
func (ls *leases) stop() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.held {
		l.stop()
	}
}

// Lock implements certmagic.Locker. It waits until the lock is free, or its holder has not
// renewed it, or ctx is done.
func (b *bucket) Lock(ctx context.Context, name string) error {
	var seen uint64 // the revision that another node holds
	var since time.Time
	retry := time.NewTicker(b.leases.time / 30)
	defer retry.Stop()
	for {
		revision, theirs, err := b.tryLock(ctx, name, seen, time.Since(since) >= b.leases.time)
		switch {
		case err != nil:
			return err
		case revision > 0:
			b.hold(name, revision)
			return nil
		case theirs != seen:
			seen, since = theirs, time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
	}
}

// tryLock returns the revision of the lock if this node holds it now, and that of another
// node otherwise. expired: the revision seen is that of a node that has vanished.
func (b *bucket) tryLock(ctx context.Context, name string, seen uint64, expired bool) (ours, theirs uint64, err error) {
	key := escape(lockPrefix + name)
	err = b.use(ctx, name, func(ctx context.Context, kv jetstream.KeyValue) (err error) {
		if seen > 0 && expired {
			ours, err = kv.Update(ctx, key, nil, seen)
		} else {
			ours, err = kv.Create(ctx, key, nil)
		}
		if err == nil || !lost(err) {
			return err
		}
		ours = 0
		e, err := kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil // it was unlocked a moment ago
		}
		if err == nil {
			theirs = e.Revision()
		}
		return err
	})
	return ours, theirs, err
}

// lost reports whether a write failed because another one came first.
func lost(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// hold renews a lock until Unlock.
func (b *bucket) hold(name string, revision uint64) {
	l := &lease{over: make(chan struct{}), done: make(chan struct{}), revision: revision}
	l.stop = sync.OnceFunc(func() { close(l.over) })
	b.leases.mu.Lock()
	b.leases.held[name] = l
	b.leases.mu.Unlock()
	go b.renew(name, l)
}

func (b *bucket) renew(name string, l *lease) {
	defer close(l.done)
	every := time.NewTicker(b.leases.time / 3)
	defer every.Stop()
	for {
		select {
		case <-l.over:
			return
		case <-every.C:
		}
		err := b.use(context.Background(), name, func(ctx context.Context, kv jetstream.KeyValue) error {
			revision, err := kv.Update(ctx, escape(lockPrefix+name), nil, l.revision)
			if err == nil {
				l.revision = revision
			}
			return err
		})
		switch {
		case err != nil && lost(err):
			b.log.Warn("ACME lock lost to another node", "lock", name)
			return
		case err != nil:
			b.log.Warn("ACME lock not renewed", "lock", name, "err", err)
		}
	}
}

// Unlock implements certmagic.Locker.
func (b *bucket) Unlock(ctx context.Context, name string) error {
	b.leases.mu.Lock()
	l := b.leases.held[name]
	delete(b.leases.held, name)
	b.leases.mu.Unlock()
	if l == nil {
		return fmt.Errorf("acme: the lock %q is not held", name)
	}
	l.stop()
	<-l.done
	err := b.use(ctx, name, func(ctx context.Context, kv jetstream.KeyValue) error {
		return kv.Delete(ctx, escape(lockPrefix+name), jetstream.LastRevision(l.revision))
	})
	if err != nil && lost(err) {
		return nil // another node has taken it over
	}
	return err
}
