package auth

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// KeySetConfig says where a JSON Web Key Set is, and which tokens its keys verify.
type KeySetConfig struct {
	// Source is an https URL, or the name of a file. A file is read once, by NewKeySet.
	Source string
	// Issuer must be a token's iss. It is required: the keys of one issuer never verify a
	// token that names another.
	Issuer string
	// Audiences, if any, are those of which one must be among a token's aud. An issuer
	// signs tokens for many services: without an audience tokens for all of them are
	// accepted.
	Audiences []string
	// CA is a file with the certificates, in PEM, of the authorities that the server at
	// the URL is verified with. Empty: those of the system.
	CA string
	// InsecureHTTP allows a URL with http for hosts other than loopback. An attacker
	// on the network can then make tokens.
	InsecureHTTP bool
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// KeySet is a JSON Web Key Set (RFC 7517), for Keys.Sets. NewKeySet creates one. A set that
// has a URL is fetched when NewTokens, SetKeys or JWT puts it to use, and then regularly,
// until Close.
//
// Keys that were fetched stay valid while the issuer cannot be reached. They are replaced
// as a whole by the next set that is fetched, if that has a key that can be used.
type KeySet struct {
	cfg   KeySetConfig                                                          // immutable
	fetch func(ctx context.Context) (data []byte, age time.Duration, err error) // nil: a file; immutable
	now   func() time.Time

	keys    atomic.Pointer[jwks] // nil: not fetched yet
	unknown atomic.Int64         // tokens that named a key which the set lacks
	fetches atomic.Int64
	failed  atomic.Int64 // of fetches

	mu       sync.Mutex
	started  bool
	closed   bool
	flight   chan struct{} // closed when the fetch under way ends; nil: none is
	stop     context.CancelFunc
	timer    *time.Timer // of the next fetch
	failures int         // since the last success
	fetched  time.Time   // when the last success ended
	asked    bool        // the fetch under way was caused by a token
	next     time.Time   // when a token may cause a fetch again
}

// Times of fetches.
const (
	fetchTimeout  = 5 * time.Second
	refreshAfter  = 10 * time.Minute // where the answer has no max-age
	refreshSooner = time.Minute      // at least, whatever max-age says
	refreshLater  = time.Hour        // at most, likewise
	// unknownEvery bounds the fetches that tokens with an unknown kid cause.
	unknownEvery = 10 * time.Second
	backoffFirst = time.Second
	backoffMost  = time.Minute
)

// NewKeySet returns a KeySet. It reads the files that cfg names, and does not use the
// network.
func NewKeySet(cfg KeySetConfig) (*KeySet, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Issuer == "" {
		return nil, fmt.Errorf("auth: key set %s: no issuer: want the iss of the tokens that it verifies", cfg.Source)
	}
	ks := &KeySet{cfg: cfg, now: time.Now}
	if err := ks.open(); err != nil {
		return nil, fmt.Errorf("auth: key set %s: %w", cfg.Source, err)
	}
	return ks, nil
}

// start fetches the set for the first time, unless it was started before. If from is the
// same set in an earlier configuration, its keys are used until then.
func (ks *KeySet) start(from *KeySet) {
	if ks.fetch == nil {
		return
	}
	if from != nil {
		ks.keys.CompareAndSwap(nil, from.keys.Load())
		ks.unknown.Add(from.unknown.Load())
		ks.fetches.Add(from.fetches.Load())
		ks.failed.Add(from.failed.Load())
		from.mu.Lock()
		fetched := from.fetched
		from.mu.Unlock()
		ks.mu.Lock()
		ks.fetched = fetched
		ks.mu.Unlock()
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if !ks.started && !ks.closed {
		ks.started = true
		ks.begin()
	}
}

// Close ends the fetches. The keys that the set has stay valid.
func (ks *KeySet) Close() {
	ks.mu.Lock()
	ks.closed = true
	if ks.timer != nil {
		ks.timer.Stop()
	}
	flight := ks.flight
	if flight != nil {
		ks.stop()
	}
	ks.mu.Unlock()
	if flight != nil {
		<-flight
	}
}

// begin starts a fetch. The caller holds mu; none is under way.
func (ks *KeySet) begin() {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	ks.flight, ks.stop = make(chan struct{}), cancel
	go ks.run(ctx)
}

// due is called by the timer.
func (ks *KeySet) due() {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.flight == nil && !ks.closed {
		ks.begin()
	}
}

// run fetches the set once.
func (ks *KeySet) run(ctx context.Context) {
	data, age, err := ks.fetch(ctx)
	var keys *jwks
	if err == nil {
		keys, err = parseJWKS(data, false)
	}
	ks.fetches.Add(1)
	if err != nil {
		ks.failed.Add(1)
	} else {
		ks.replace(keys)
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	ks.stop()
	now := ks.now()
	var wait time.Duration
	if err != nil {
		wait = min(backoffFirst<<min(ks.failures, 10), backoffMost)
		wait -= rand.N(wait / 4) // many nodes lost the issuer at the same time
		ks.failures++
		ks.next = now.Add(wait)
		if !ks.closed {
			ks.cfg.Logger.Warn("key set not fetched", "source", ks.cfg.Source, "err", err, "retry", wait.Round(time.Millisecond), "has_keys", ks.keys.Load() != nil)
		}
	} else {
		wait = refreshAfter
		if age > 0 {
			wait = min(max(age, refreshSooner), refreshLater)
		}
		wait -= rand.N(wait / 10)
		ks.failures, ks.fetched = 0, now
		if ks.asked { // otherwise a token may ask at once: keys change between regular fetches
			ks.next = now.Add(unknownEvery)
		}
	}
	ks.asked = false
	close(ks.flight)
	ks.flight = nil
	if !ks.closed {
		ks.timer = time.AfterFunc(wait, ks.due)
	}
}

// replace puts keys into force, and logs what is new.
func (ks *KeySet) replace(keys *jwks) {
	old := ks.keys.Swap(keys)
	if old == nil || !slices.Equal(old.kids, keys.kids) || len(old.skipped) != len(keys.skipped) {
		ks.cfg.Logger.Info("key set loaded", "source", ks.cfg.Source, "issuer", ks.cfg.Issuer, "kids", keys.kids, "skipped", keys.skipped)
	}
}

// age returns the seconds since the set was last fetched; 0: it never was.
func (ks *KeySet) age() int64 {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.fetched.IsZero() {
		return 0
	}
	return int64(ks.now().Sub(ks.fetched).Seconds())
}

// mayRefresh reports whether await can bring keys that the set lacks: a fetch is under way,
// or the last one was long enough ago.
func (ks *KeySet) mayRefresh() bool {
	if ks.fetch == nil {
		return false
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	return ks.flight != nil || !ks.closed && !ks.now().Before(ks.next)
}

// await waits for the fetch that request returns.
func (ks *KeySet) await(ctx context.Context) {
	flight := ks.request()
	if flight == nil {
		return
	}
	select {
	case <-flight:
	case <-ctx.Done():
	}
}

// request returns what is closed at the end of the fetch under way, or of one that it starts
// if mayRefresh allows that; nil: there is none.
func (ks *KeySet) request() (flight <-chan struct{}) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.flight == nil && !ks.closed && !ks.now().Before(ks.next) {
		if ks.timer != nil {
			ks.timer.Stop()
		}
		ks.asked = true
		ks.begin()
	}
	return ks.flight
}

// retryAfter returns how long a client with an unknown key should wait, if the set is not
// up to date: the last fetch failed, or there was none.
func (ks *KeySet) retryAfter() (d time.Duration, outdated bool) {
	if ks.fetch == nil {
		return 0, false
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	return max(ks.next.Sub(ks.now()), time.Second), ks.failures > 0 || ks.keys.Load() == nil
}
