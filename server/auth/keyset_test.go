package auth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server"
)

// issuer is a source of keys that the test controls.
type issuer struct {
	mu      sync.Mutex
	keys    []byte
	maxAge  time.Duration
	err     error
	delay   time.Duration // an answer takes as long
	fetches int
	begun   []time.Time
}

func (is *issuer) fetch(ctx context.Context) ([]byte, time.Duration, error) {
	is.mu.Lock()
	is.fetches++
	is.begun = append(is.begun, time.Now())
	delay := is.delay
	is.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.keys, is.maxAge, is.err
}

func (is *issuer) change(f func()) {
	is.mu.Lock()
	defer is.mu.Unlock()
	f()
}

func (is *issuer) count() int {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.fetches
}

// set is a set that is fetched from the issuer.
func (is *issuer) set(name string) *KeySet {
	return &KeySet{cfg: KeySetConfig{Source: "https://" + name, Issuer: name, Logger: slog.New(slog.DiscardHandler)}, fetch: is.fetch, now: time.Now}
}

// check verifies a token as an Identifier does that may block.
func check(t *testing.T, tokens *Tokens, token string) error {
	t.Helper()
	v := tokens.verifier.Load()
	c, lacking, err := v.parse(token)
	if err != nil && len(lacking) > 0 {
		for _, set := range lacking {
			if set.mayRefresh() {
				set.await(t.Context())
			}
		}
		c, lacking, err = v.parse(token)
		for _, set := range lacking {
			if d, outdated := set.retryAfter(); outdated {
				return unavailable(d)
			}
		}
	}
	_, err = v.identity(token, c, nil, err)
	return err
}

// inBubble runs a test with fake time.
func inBubble(t *testing.T, is *issuer, test func(t *testing.T, tokens *Tokens)) {
	synctest.Test(t, func(t *testing.T) {
		tokens := NewTokens(&Keys{Leeway: time.Hour * 1e5, Sets: []*KeySet{is.set("us")}})
		defer tokens.Close()
		test(t, tokens)
	})
}

var (
	oldToken = func() string { return signBy("ES256", "p256", "us", nil) }
	newToken = func() string { return signBy("EdDSA", "ed", "us", nil) }
	oldKeys  = jwksText(jwk("p256", setSigners["p256"]))
	newKeys  = jwksText(jwk("ed", setSigners["ed"]))
)

// TestKeySetRotation: a token with an unknown kid causes one fetch, and further ones cause
// no more than one every ten seconds.
func TestKeySetRotation(t *testing.T) {
	is := &issuer{keys: oldKeys, delay: time.Second}
	inBubble(t, is, func(t *testing.T, tokens *Tokens) {
		start := time.Now()
		if err := check(t, tokens, oldToken()); err != nil || time.Since(start) != time.Second {
			t.Fatalf("the first token waits for the first fetch: %v after %v", err, time.Since(start))
		}
		for range 2 {
			checkRejection(t, check(t, tokens, newToken()), 401, "no key with the token's kid")
			if n := is.count(); n != 2 {
				t.Errorf("%d fetches, want the first and one for a token", n)
			}
		}
		time.Sleep(unknownEvery)
		is.change(func() { is.keys = newKeys })
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := check(t, tokens, newToken()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := is.count(); n != 3 {
			t.Errorf("%d fetches for 20 tokens at once, want one", n-2)
		}
		checkRejection(t, check(t, tokens, oldToken()), 401, "no key with the token's kid")
		for range 60 { // a client makes up a kid every second
			check(t, tokens, signBy("ES256", "lost", "us", nil))
			time.Sleep(time.Second)
		}
		// Every tenth waits for a fetch of a second: 60 s of sleep are 66 s.
		if n := is.count(); n < 8 || n > 10 {
			t.Errorf("%d fetches in a minute of unknown keys", n-3)
		}
	})
}

// TestKeySetOutage: keys outlive an outage, new ones are said to be unavailable, fetches
// back off, and the first success ends it.
func TestKeySetOutage(t *testing.T) {
	is := &issuer{keys: oldKeys}
	inBubble(t, is, func(t *testing.T, tokens *Tokens) {
		if err := check(t, tokens, oldToken()); err != nil {
			t.Fatal(err)
		}
		is.change(func() { is.err = errors.New("away") })
		time.Sleep(refreshAfter) // the next fetch fails
		synctest.Wait()
		down := is.count()
		if down < 2 {
			t.Fatal("the set was not fetched again")
		}
		if err := tokens.Ready(); err == nil || !strings.Contains(err.Error(), "could not be fetched again, in ") || !strings.Contains(err.Error(), "keys from 2000-01-01T00:00:00Z are in use") || tokens.Usable() != nil {
			t.Errorf("in the outage: %v, %v", err, tokens.Usable())
		}
		for range 120 {
			if err := check(t, tokens, oldToken()); err != nil {
				t.Fatalf("in the outage: %v", err)
			}
			checkRejection(t, check(t, tokens, newToken()), 503, "could not fetch the keys")
			time.Sleep(time.Minute)
		}
		if n := is.count() - down; n < 110 || n > 190 {
			t.Errorf("%d fetches in two hours of outage", n)
		}
		is.change(func() { is.err, is.keys = nil, newKeys })
		time.Sleep(backoffMost)
		if err := check(t, tokens, newToken()); err != nil {
			t.Error(err)
		}
		for name, bad := range map[string][]byte{"empty": jwksText(), "a page": []byte("<html>"), "nothing to use": jwksText(jwk("a", setSigners["rsa"], "use", "enc"))} {
			is.change(func() { is.keys = bad })
			time.Sleep(refreshLater)
			if err := check(t, tokens, newToken()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestKeySetNeverFetched: tokens are answered with 503 until the first fetch succeeds.
func TestKeySetNeverFetched(t *testing.T) {
	is := &issuer{keys: oldKeys, err: errors.New("away")}
	inBubble(t, is, func(t *testing.T, tokens *Tokens) {
		if tokens.Ready() == nil || tokens.Usable() == nil {
			t.Error("ready before the first fetch")
		}
		checkRejection(t, check(t, tokens, oldToken()), 503, "could not fetch")
		for _, err := range []error{tokens.Ready(), tokens.Usable()} {
			if err == nil || !strings.Contains(err.Error(), `the key set of issuer "us" has not been fetched yet, after 1 attempts`) {
				t.Errorf("got %v", err)
			}
		}
		is.change(func() { is.err, is.delay = nil, time.Hour })
		begin := time.Now()
		time.Sleep(backoffFirst)
		checkRejection(t, check(t, tokens, oldToken()), 503, "could not fetch")
		if d := time.Since(begin); d > backoffFirst+fetchTimeout {
			t.Errorf("a fetch took %v", d)
		}
		is.change(func() { is.delay = 0 })
		time.Sleep(backoffMost)
		if err := check(t, tokens, oldToken()); err != nil {
			t.Error(err)
		}
		if err := errors.Join(tokens.Ready(), tokens.Usable()); err != nil {
			t.Error(err)
		}
	})
}

// TestUsable: one set that was fetched, or a key of the file, is enough for clients to connect.
func TestUsable(t *testing.T) {
	away, there := &issuer{err: errors.New("away")}, &issuer{keys: oldKeys}
	synctest.Test(t, func(t *testing.T) {
		fixed := keysFor(t, "HS256")
		fixed.Sets = []*KeySet{away.set("us")}
		for name, tt := range map[string]struct {
			keys          *Keys
			ready, usable bool
		}{
			"a file":         {keysFor(t, "HS256"), true, true},
			"a file and set": {fixed, false, true},
			"one of two":     {&Keys{Sets: []*KeySet{away.set("us"), there.set("them")}}, false, true},
			"no set":         {&Keys{Sets: []*KeySet{away.set("us"), away.set("them")}}, false, false},
		} {
			tokens := NewTokens(tt.keys)
			synctest.Wait()
			if ready, usable := tokens.Ready(), tokens.Usable(); (ready == nil) != tt.ready || (usable == nil) != tt.usable {
				t.Errorf("%s: ready: %v, usable: %v", name, ready, usable)
			}
			tokens.Close()
		}
	})
}

// TestKeySetMaxAge: max-age sets the time of the next fetch, within bounds.
func TestKeySetMaxAge(t *testing.T) {
	for _, tt := range []struct{ maxAge, least, most time.Duration }{
		{0, refreshAfter * 9 / 10, refreshAfter},
		{time.Second, refreshSooner * 9 / 10, refreshSooner},
		{30 * time.Minute, 27 * time.Minute, 30 * time.Minute},
		{100 * time.Hour, refreshLater * 9 / 10, refreshLater},
	} {
		is := &issuer{keys: oldKeys, maxAge: tt.maxAge}
		inBubble(t, is, func(t *testing.T, tokens *Tokens) {
			time.Sleep(2 * refreshLater)
			synctest.Wait()
			is.mu.Lock()
			defer is.mu.Unlock()
			for i := range is.begun[1:] {
				if d := is.begun[i+1].Sub(is.begun[i]); d < tt.least || d > tt.most {
					t.Errorf("max-age %v: fetched again after %v, want %v to %v", tt.maxAge, d, tt.least, tt.most)
				}
			}
		})
	}
}

// TestSetKeysKeepsFetchedKeys: a reload during an outage costs no key, and Close ends all
// fetches.
func TestSetKeysKeepsFetchedKeys(t *testing.T) {
	is := &issuer{keys: oldKeys}
	inBubble(t, is, func(t *testing.T, tokens *Tokens) {
		if err := check(t, tokens, oldToken()); err != nil {
			t.Fatal(err)
		}
		is.change(func() { is.err = errors.New("away") })
		tokens.SetKeys(&Keys{Leeway: time.Hour * 1e5, Sets: []*KeySet{is.set("us")}})
		if err := check(t, tokens, oldToken()); err != nil {
			t.Errorf("after a reload: %v", err)
		}
		other := &issuer{keys: newKeys}
		tokens.SetKeys(&Keys{Leeway: time.Hour * 1e5, Sets: []*KeySet{other.set("them")}})
		checkRejection(t, check(t, tokens, oldToken()), 401, "another issuer")
		n := is.count()
		time.Sleep(24 * time.Hour)
		if is.count() != n {
			t.Error("a set that is not used any more is fetched")
		}
		if other.count() < 24 {
			t.Errorf("the other was fetched %d times in a day", other.count())
		}
		values := map[string]int64{}
		tokens.EachMetric(func(name, help, label, value string, v int64) {
			if help == "" || label != "issuer" || value != "them" {
				t.Errorf("metric %s has %q, %q, %q", name, help, label, value)
			}
			values[name] = v
		})
		if values["jwks_keys"] != 1 || values["jwks_fetches_total"] != int64(other.count()) || values["jwks_failures_total"] != 0 || values["jwks_age_seconds"] > 3600 {
			t.Errorf("metrics %v", values)
		}
		tokens.Close()
		n = other.count()
		time.Sleep(24 * time.Hour)
		if other.count() != n {
			t.Error("a closed set is fetched")
		}
	})
}

// TestKeySetIdentifier: over a server a token whose key is known is never delayed by a
// fetch, and one whose key is not waits for it.
func TestKeySetIdentifier(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{}, 10)
	keys := jwksText(jwk("p256", setSigners["p256"]), jwk("ed", setSigners["ed"]))
	slow := &KeySet{cfg: KeySetConfig{Source: "https://us", Issuer: "us", Logger: slog.New(slog.DiscardHandler)}, now: time.Now}
	slow.fetch = func(ctx context.Context) ([]byte, time.Duration, error) {
		begun <- struct{}{}
		select {
		case <-release:
			return keys, 0, nil
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	old, err := parseJWKS(oldKeys, false)
	if err != nil {
		t.Fatal(err)
	}
	slow.keys.Store(old)
	tokens := NewTokens(&Keys{Leeway: DefaultLeeway, Sets: []*KeySet{slow}})
	defer tokens.Close()
	srv := startNonBlocking(t, tokens.Identify, server.Config{Identifiers: 1, Workers: 1})
	<-begun
	answered := make(chan struct{}, 3)
	for range 3 {
		go func() {
			connect(t, srv, "?token="+newToken())
			answered <- struct{}{}
		}()
	}
	for range 3 {
		connect(t, srv, "?token="+oldToken()) // returns when the session is open
	}
	select {
	case <-answered:
		t.Error("a token with an unknown key was answered before the keys were there")
	default:
	}
	close(release)
	for range 3 {
		<-answered
	}
	if len(begun) != 0 {
		t.Error("there was a second fetch")
	}
}

// TestRefreshUnknownKey: a token of an open session does not wait for its key.
func TestRefreshUnknownKey(t *testing.T) {
	is := &issuer{keys: oldKeys, delay: time.Second}
	inBubble(t, is, func(t *testing.T, tokens *Tokens) {
		begin := time.Now()
		_, err := tokens.Refresh(t.Context(), nil, oldToken())
		checkRejection(t, err, 503, "being fetched")
		time.Sleep(time.Second)
		synctest.Wait()
		if id, err := tokens.Refresh(t.Context(), nil, oldToken()); err != nil || id.User != "alice" {
			t.Errorf("%+v, %v", id, err)
		}
		is.change(func() { is.keys = newKeys })
		_, err = tokens.Refresh(t.Context(), nil, newToken())
		checkRejection(t, err, 503, "being fetched")
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := tokens.Refresh(t.Context(), nil, newToken()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 2*time.Second || is.count() != 2 {
			t.Errorf("%d fetches in %v", is.count(), d)
		}
	})
}

// TestKeySetCloseDuringFetch: Close does not wait for the issuer.
func TestKeySetCloseDuringFetch(t *testing.T) {
	is := &issuer{keys: oldKeys, delay: time.Hour}
	inBubble(t, is, func(t *testing.T, tokens *Tokens) {
		begin := time.Now()
		time.Sleep(time.Second)
		tokens.Close()
		if d := time.Since(begin); d != time.Second {
			t.Errorf("Close took %v", d-time.Second)
		}
		if err := check(t, tokens, oldToken()); err == nil || !strings.Contains(err.Error(), "could not fetch") {
			t.Errorf("got %v", err)
		}
	})
}
