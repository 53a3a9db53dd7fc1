package revoke

import (
	"context"
	"errors"
	"time"
)

const (
	// readInterval is how often the Store is asked whether entries have changed. Nodes that
	// are connected know of a change at once, by Apply and Forget.
	readInterval = 2 * time.Second
	// readRetry separates attempts while the entries are not loaded.
	readRetry = 250 * time.Millisecond
	// readTimeout bounds one attempt.
	readTimeout = 10 * time.Second
)

// run reads the Store again and again.
func (l *List) run(ctx context.Context) {
	defer close(l.done)
	for {
		wait := readInterval
		if !l.Loaded() {
			wait = readRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-l.kick:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
		l.read(ctx)
		l.removeExpired(ctx)
	}
}

// wake makes run read the Store now.
func (l *List) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// read brings the entries up to date with the Store.
func (l *List) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for {
		l.mu.RLock()
		since, changes := l.version, l.changes
		l.mu.RUnlock()
		entries, version, err := l.cfg.Store.Load(ctx, since)
		if err != nil {
			l.failed(ctx, err)
			return err
		}
		lost, more, ok := l.replace(entries, version, since, changes)
		if !ok {
			continue // the entries that were read may be older than a change
		}
		for _, e := range lost {
			if _, err := l.cfg.Store.Put(ctx, e, 0); err != nil && !errors.Is(err, ErrConflict) {
				l.cfg.Logger.Error("revocation not restored", "id", e.ID, "err", err)
			}
		}
		if f := l.changed.Load(); more && f != nil {
			(*f)()
		}
		return nil
	}
}

// failed notes why the Store could not be read.
func (l *List) failed(ctx context.Context, err error) {
	l.mu.Lock()
	was := l.failure
	l.failure = err
	loaded := l.loaded
	l.mu.Unlock()
	if (was == nil || was.Error() != err.Error()) && context.Cause(ctx) != context.Canceled {
		effect := "the entries that were read stay in force"
		if !loaded {
			effect = "sessions are rejected with 503 until they can be read"
		}
		l.cfg.Logger.Error("revocations unavailable", "err", err, "effect", effect)
	}
}

// replace puts the entries in force that were read. It returns those that the Store has
// lost, whether there are more than before, and false if the entries have changed since
// changes was read.
func (l *List) replace(entries []Entry, version, since Version, changes uint64) (lost []Entry, more, ok bool) {
	now := l.now().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes != changes || l.version != since {
		return nil, false, false
	}
	if was := l.failure; was != nil || !l.loaded {
		l.cfg.Logger.Info("revocations available", "entries", len(entries))
	}
	l.failure = nil
	if l.loaded && version == since {
		return nil, false, true
	}
	next := make(map[target]Entry, len(entries))
	for _, e := range entries {
		next[e.target()] = e
		if old, had := l.entries[e.target()]; !had || stronger(e, old) {
			more = true
		}
	}
	if l.loaded && version.History != since.History {
		for t, e := range l.entries {
			if _, there := next[t]; !there && now < e.Expires {
				next[t] = e
				lost = append(lost, e)
			}
		}
		l.cfg.Logger.Warn("revocations lost by the store", "restored", len(lost))
	}
	l.entries, l.version, l.loaded = next, version, true
	return lost, more, true
}

// removeExpired removes entries from the Store that have expired for everybody.
func (l *List) removeExpired(ctx context.Context) {
	// Clocks of nodes differ: an entry stays a minute longer in the Store than in force.
	now := l.now().Unix() - maxAhead
	var expired []Entry
	l.mu.RLock()
	for _, e := range l.entries {
		if now >= e.Expires && e.Revision > 0 {
			expired = append(expired, e)
		}
	}
	l.mu.RUnlock()
	for _, e := range expired {
		if err := l.cfg.Store.Remove(ctx, e.ID, e.Revision); err != nil {
			return // the next attempt is soon
		}
	}
}
