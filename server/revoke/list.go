package revoke

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server/internal/field"
)

// Config configures a List. Age is required.
type Config struct {
	// Age is how long an entry lasts: the longest lifetime of a token. An entry that is
	// removed earlier than the tokens that it concerns permits them again.
	Age time.Duration
	// Entries is the maximum number of entries. 0: 10,000.
	Entries int
	// Store keeps the entries. nil: they are lost with the process.
	Store Store
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

const (
	maxAge     = 10 * 365 * 24 * time.Hour
	maxEntries = 1_000_000
)

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Entries == 0 {
		cfg.Entries = 10_000
	}
	var errs []error
	if cfg.Age < time.Second || cfg.Age > maxAge {
		errs = append(errs, field.Errorf("Age", "is %v: want 1s to %v", cfg.Age, maxAge))
	}
	if cfg.Entries < 1 || cfg.Entries > maxEntries {
		errs = append(errs, field.Errorf("Entries", "is %d: want 1 to %d", cfg.Entries, maxEntries))
	}
	if len(errs) > 0 {
		return field.Wrapf("revoke: %w", errors.Join(errs...))
	}
	return nil
}

var (
	// ErrFull: there are Config.Entries entries.
	ErrFull = errors.New("too many revocations")
	// ErrNotLoaded: the entries have not been read from the Store yet.
	ErrNotLoaded = errors.New("revocations are not loaded yet")
	// ErrNotFound: no entry has this ID.
	ErrNotFound = errors.New("no revocation has this id")
)

// List has the entries in memory. It is safe for concurrent use.
type List struct {
	cfg     Config
	now     func() time.Time
	changed atomic.Pointer[func()]

	// Rejected counts handshakes and refreshes, and Closed sessions; the server counts.
	Rejected, Closed atomic.Int64

	adding sync.Mutex // held by Add, around mu

	mu      sync.RWMutex
	entries map[target]Entry
	changes uint64 // counts changes that were not read from the Store
	version Version
	loaded  bool
	failure error // of the last attempt to read the Store

	kick chan struct{}
	stop context.CancelFunc
	done chan struct{}
}

// New returns a List. With a Store it reads the entries, which it waits for as long as ctx
// lasts, and goes on trying later.
func New(ctx context.Context, cfg Config) (*List, error) { return newList(ctx, cfg, time.Now) }

func newList(ctx context.Context, cfg Config, now func() time.Time) (*List, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &List{cfg: cfg, now: now, entries: make(map[target]Entry), kick: make(chan struct{}, 1), done: make(chan struct{})}
	running, stop := context.WithCancel(context.Background())
	l.stop = stop
	if cfg.Store == nil {
		l.loaded = true
		close(l.done)
		return l, nil
	}
	l.read(ctx)
	go l.run(running)
	return l, nil
}

// Close ends the List; it does not close the Store.
func (l *List) Close() {
	l.stop()
	<-l.done
}

// OnChange sets a function that is called when entries were read that revoke more than
// before.
func (l *List) OnChange(f func()) { l.changed.Store(&f) }

// Stored reports whether entries outlast the process.
func (l *List) Stored() bool { return l.cfg.Store != nil }

// Loaded reports whether the entries have been read once.
func (l *List) Loaded() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.loaded
}

// Ready returns nil if the last attempt to read the Store has succeeded, else the reason.
func (l *List) Ready() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.failure
}

// Verdict is what a List says of an identity.
type Verdict uint8

// The verdicts.
const (
	Valid   Verdict = iota
	Revoked         // an identity that is issued later may be valid
	Blocked         // so is every identity of the user
	Unknown         // the entries are not loaded yet
)

// Check returns whether the identity of a user is revoked, that was issued at a time with a
// token; empty if the token has no ID.
func (l *List) Check(user, token string, issued time.Time) Verdict {
	now, at := l.now().Unix(), float64(issued.Unix())+float64(issued.Nanosecond())/1e9
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.loaded {
		return Unknown
	}
	if len(l.entries) == 0 {
		return Valid
	}
	if e, ok := l.entries[target{byUser, user}]; ok && now < e.Expires {
		return Blocked
	}
	for _, name := range [2]string{user, ""} {
		if e, ok := l.entries[target{byIssue, name}]; ok && now < e.Expires && at < e.Before {
			return Revoked
		}
	}
	if token != "" {
		if e, ok := l.entries[target{byToken, token}]; ok && now < e.Expires {
			return Revoked
		}
	}
	return Valid
}

// Entries returns the entries that have not expired, the oldest first.
func (l *List) Entries() ([]Entry, error) {
	now := l.now().Unix()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.loaded {
		return nil, l.notLoaded()
	}
	all := make([]Entry, 0, len(l.entries))
	for _, e := range l.entries {
		if now < e.Expires {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(x, y Entry) int {
		return cmp.Or(cmp.Compare(x.Created, y.Created), cmp.Compare(x.ID, y.ID))
	})
	return all, nil
}

// notLoaded returns ErrNotLoaded with the reason. The caller holds mu.
func (l *List) notLoaded() error {
	if l.failure != nil {
		return fmt.Errorf("%w: %w", ErrNotLoaded, l.failure)
	}
	return ErrNotLoaded
}

// maxConflicts bounds how often Add begins anew because another node has changed the entry.
const maxConflicts = 10

// Add stores an entry and puts it in force on this node. It returns the entry as it is in
// force, merged with a former one. The error wraps ErrInvalid, ErrFull, ErrNotLoaded, or is
// that of the Store: then the entry may be stored, and Add can be repeated.
func (l *List) Add(ctx context.Context, e Entry) (Entry, error) {
	if err := e.complete(l.now(), l.cfg.Age); err != nil {
		return Entry{}, err
	}
	l.adding.Lock()
	defer l.adding.Unlock()
	for range maxConflicts {
		old, err := l.room(e.target())
		if err != nil {
			return Entry{}, err
		}
		next := e
		if l.now().Unix() < old.Expires {
			next = merged(e, old)
		}
		if l.cfg.Store != nil {
			next.Revision, err = l.cfg.Store.Put(ctx, next, old.Revision)
			if errors.Is(err, ErrConflict) {
				if err := l.read(ctx); err != nil {
					return Entry{}, err
				}
				continue
			}
			if err != nil {
				l.wake()
				return Entry{}, err
			}
		}
		l.put(next)
		return next, nil
	}
	return Entry{}, ErrConflict
}

// room returns the present entry of a target, or ErrFull if there is none and no room.
func (l *List) room(t target) (Entry, error) {
	now := l.now().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		return Entry{}, l.notLoaded()
	}
	old, ok := l.entries[t]
	if !ok && len(l.entries) >= l.cfg.Entries && l.cfg.Store == nil {
		for t, e := range l.entries {
			if now >= e.Expires {
				delete(l.entries, t)
			}
		}
	}
	n := 0
	for _, e := range l.entries {
		if now < e.Expires {
			n++
		}
	}
	if !ok && n >= l.cfg.Entries {
		return Entry{}, fmt.Errorf("%w: there are %d, the limit: delete some, or revoke all tokens of a user or of everybody that were issued before a time", ErrFull, n)
	}
	return old, nil
}

// put puts an entry in force.
func (l *List) put(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	l.entries[e.target()] = e
}

// Apply puts an entry in force that another node has stored.
func (l *List) Apply(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	old := l.entries[e.target()]
	if e.Revision = old.Revision; l.now().Unix() < old.Expires {
		e = merged(e, old)
	}
	l.entries[e.target()] = e
}

// Remove removes an entry from the Store and from memory. The error is ErrNotFound, or
// that of the Store.
func (l *List) Remove(ctx context.Context, id string) error {
	l.adding.Lock()
	defer l.adding.Unlock()
	if l.cfg.Store != nil {
		if err := l.read(ctx); err != nil { // for the revision
			return err
		}
	}
	e, ok := l.find(id)
	if !ok {
		return ErrNotFound
	}
	if l.cfg.Store != nil {
		if err := l.cfg.Store.Remove(ctx, id, e.Revision); err != nil {
			l.wake()
			return err
		}
	}
	l.Forget(id)
	return nil
}

// Forget removes an entry from memory that another node has removed from the Store.
func (l *List) Forget(id string) {
	e, ok := l.find(id)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	delete(l.entries, e.target())
}

func (l *List) find(id string) (Entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, e := range l.entries {
		if e.ID == id {
			return e, true
		}
	}
	return Entry{}, false
}

// EachMetric calls f for each metric, see api.Measured.
func (l *List) EachMetric(f func(name, help, label, value string, n int64)) {
	all, err := l.Entries()
	ready := int64(1)
	if err != nil || l.Ready() != nil {
		ready = 0
	}
	f("revocations", "Revocations in force.", "", "", int64(len(all)))
	f("revocations_limit", "Limit of fanfare_revocations.", "", "", int64(min(l.cfg.Entries, math.MaxInt32)))
	f("revocations_ready", "1 if the last attempt to read the revocations from the store has succeeded.", "", "", ready)
	f("revocation_rejections_total", "Handshakes and refreshes rejected because of a revocation.", "", "", l.Rejected.Load())
	f("revocation_closes_total", "Sessions closed because of a revocation.", "", "", l.Closed.Load())
}
