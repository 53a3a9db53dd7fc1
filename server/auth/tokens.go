package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"fanfare/server"
)

// Tokens identifies clients as JWT does, with keys that SetKeys replaces while the server
// runs. NewTokens creates one; the zero value needs SetKeys before its first use.
type Tokens struct {
	verifier atomic.Pointer[verifier]

	mu   sync.Mutex
	sets []*KeySet // of the verifier; guarded by mu
}

// NewTokens returns Tokens that verify with keys, which must not be changed afterwards.
func NewTokens(keys *Keys) *Tokens {
	t := new(Tokens)
	t.SetKeys(keys)
	return t
}

// SetKeys replaces the keys, and the other settings of Keys, for handshakes from now on.
// Sessions that are open stay, whichever key their token was signed with. It starts
// keys.Sets, which have the keys of a former set of the same source and issuer until they
// are fetched, and closes the former ones.
func (t *Tokens) SetKeys(keys *Keys) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.sets
	t.sets = keys.Sets
	for _, set := range keys.Sets {
		var from *KeySet
		for _, o := range old {
			if o.cfg.Source == set.cfg.Source && o.cfg.Issuer == set.cfg.Issuer {
				from = o
			}
		}
		set.start(from)
	}
	t.verifier.Store(newVerifier(keys))
	for _, o := range old {
		if !slices.Contains(keys.Sets, o) {
			o.Close()
		}
	}
}

// Close closes the key sets in use.
func (t *Tokens) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, set := range t.sets {
		set.Close()
	}
}

// Identify is a server.Identifier, as that of JWT.
func (t *Tokens) Identify(ctx context.Context, r *server.Request) (server.Identity, error) {
	return t.verifier.Load().identify(ctx, r)
}

// Refresh is a server.Refresher: the client sends another token before that of its session
// expires. It does not block, so that clients cannot keep the workers busy while an issuer
// is away: a token whose key has to be fetched is rejected with 503 meanwhile.
func (t *Tokens) Refresh(ctx context.Context, _ *server.Session, token string) (server.Identity, error) {
	v := t.verifier.Load()
	c, err := v.refreshed(ctx, false, token)
	if errors.Is(err, server.ErrMustWait) {
		_, lacking, _ := v.parse(token)
		for _, set := range lacking {
			set.request()
		}
		return server.Identity{}, errFetching
	}
	return v.identity(token, c, nil, err)
}

var errFetching = &server.Rejection{
	Status: http.StatusServiceUnavailable,
	Text:   "the keys of the token's issuer are being fetched: try again in a second",
}

// EachMetric calls f for each metric of the key sets in use, see api.Measured. Sets of one
// issuer count together.
func (t *Tokens) EachMetric(f func(name, help, label, value string, n int64)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	type sums struct{ keys, age, fetches, failures, unknown int64 }
	by := make(map[string]*sums)
	for _, set := range t.sets {
		s := by[set.cfg.Issuer]
		if s == nil {
			s = new(sums)
			by[set.cfg.Issuer] = s
		}
		if k := set.keys.Load(); k != nil {
			s.keys += int64(len(k.kids))
		}
		s.age = max(s.age, set.age())
		s.fetches += set.fetches.Load()
		s.failures += set.failed.Load()
		s.unknown += set.unknown.Load()
	}
	for issuer, s := range by {
		f("jwks_keys", "Keys in use of an issuer's key sets; 0: they were not fetched yet.", "issuer", issuer, s.keys)
		f("jwks_age_seconds", "Time since an issuer's key set was last fetched.", "issuer", issuer, s.age)
		f("jwks_fetches_total", "Fetches of an issuer's key sets.", "issuer", issuer, s.fetches)
		f("jwks_failures_total", "Fetches of an issuer's key sets that failed.", "issuer", issuer, s.failures)
		f("jwks_unknown_keys_total", "Tokens rejected because their issuer's key sets have no key for them.", "issuer", issuer, s.unknown)
	}
}
