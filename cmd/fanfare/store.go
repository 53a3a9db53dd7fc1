package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/cmd/fanfare/internal/vault"
	"fanfare/server/inbox"
	"fanfare/server/revoke"
	"fanfare/server/store"
)

// openStore opens the store. If its disk is full, or its NATS is away, it opens, and is
// available later.
func openStore(ctx context.Context, cfg *inbox.Config) (*inbox.Store, error) {
	st, err := inbox.Open(ctx, *cfg)
	if err != nil {
		return nil, err
	}
	if err := st.Ready(); err != nil {
		cfg.Logger.Warn("durable messages are not available yet", "err", err)
	}
	return st, nil
}

// storeHung returns a channel that is closed when the store can be used by a new process
// only.
func (p *program) storeHung() <-chan struct{} {
	if p.vault == nil {
		return nil
	}
	return p.vault.Hung()
}

// storeError adds to an error of the store, which is in NATS or in a directory, what the operator
// can do.
func storeError(err error, nats bool) error {
	var file *fs.PathError
	switch worded := settings.InFlags("inbox", err); {
	case errors.Is(err, inbox.ErrLocked):
		return fmt.Errorf("%w: each server needs a --data-dir of its own, or --data-dir none to store no messages", worded)
	case errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrUnavailable):
		return worded
	case !nats && errors.As(err, &file):
		return fmt.Errorf("%w: give --data-dir a directory for durable messages, or none", worded)
	case fieldIs(err, "Disk"):
		return usage(fmt.Errorf("%w, or --inbox-disk-full drop-oldest to remove the oldest", worded))
	case fieldIs(err, "Messages"):
		return usage(fmt.Errorf("%w, or --inbox-full drop-oldest to remove the oldest", worded))
	default:
		return usage(worded)
	}
}

func fieldIs(err error, name string) bool {
	var e settings.FieldError
	return errors.As(err, &e) && e.Field() == name
}

// revocationsPatience is how long the start waits for the revocations.
const revocationsPatience = 5 * time.Second

// openRevocations opens the list, which is read later if the store is not available.
func openRevocations(ctx context.Context, cfg revoke.Config, st *vault.Vault) (*revoke.List, error) {
	if st != nil {
		cfg.Store = st.Revocations()
	} else {
		cfg.Logger.Warn("revocations are kept in memory only", "effect", "a restart or an upgrade forgets them", "advice", "give --data-dir a directory, or --nats")
	}
	ctx, cancel := context.WithTimeout(ctx, revocationsPatience)
	defer cancel()
	return revoke.New(ctx, cfg)
}

// storeTimeout is how long the store may take to close its files. An embedded NATS server
// that met a full disk at a bad moment may never stop.
const storeTimeout = 15 * time.Second

var errStoreHangs = errors.New("the store does not close; its files are as after a kill, and the next start checks them")

// closeWithin calls f and returns errStoreHangs if it takes longer than d.
func closeWithin(d time.Duration, f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return nil
	case <-time.After(d):
		return errStoreHangs
	}
}
