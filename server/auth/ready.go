package auth

import (
	"errors"
	"fmt"
)

// Ready returns what keeps t from verifying tokens of some issuers, or from learning of new
// keys; nil if nothing does.
func (t *Tokens) Ready() error {
	var errs []error
	for _, set := range t.verifier.Load().keys.Sets {
		errs = append(errs, set.ready())
	}
	return errors.Join(errs...)
}

// Usable returns nil if t has a key, and an error while it cannot verify any token, because
// none of its key sets was ever fetched.
func (t *Tokens) Usable() error {
	keys := t.verifier.Load().keys
	if len(keys.byAlgorithm) > 0 || len(keys.Sets) == 0 {
		return nil
	}
	for _, set := range keys.Sets {
		if set.keys.Load() != nil {
			return nil
		}
	}
	return t.Ready()
}

// ready returns an error while the set was not fetched, or cannot be fetched again.
func (ks *KeySet) ready() error {
	ks.mu.Lock()
	failures, fetched := ks.failures, ks.fetched
	ks.mu.Unlock()
	switch {
	case ks.keys.Load() == nil && failures == 0:
		return fmt.Errorf("the key set of issuer %.100q has not been fetched yet", ks.cfg.Issuer)
	case ks.keys.Load() == nil:
		return fmt.Errorf("the key set of issuer %.100q has not been fetched yet, after %d attempts: its tokens are rejected", ks.cfg.Issuer, failures)
	case failures > 0:
		return fmt.Errorf("the key set of issuer %.100q could not be fetched again, in %d attempts: keys from %s are in use",
			ks.cfg.Issuer, failures, fetched.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return nil
}
