// Package vault has the store of the program, which it can close and open again while the
// server runs.
package vault

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server/inbox"
	"fanfare/server/store"
)

// Vault is a store.Store on another one. It can be detached, while another process has the
// directory, and attached again. Without a store it is unavailable.
type Vault struct {
	in atomic.Pointer[inbox.Store] // nil: detached

	mu      sync.Mutex
	recover func() // of OnRecover; guarded by mu
}

var _ store.Store = (*Vault)(nil)

// New returns a Vault with a store.
func New(st *inbox.Store) *Vault {
	v := new(Vault)
	v.in.Store(st)
	return v
}

// Detach makes the vault unavailable, and returns the store.
func (v *Vault) Detach() *inbox.Store { return v.in.Swap(nil) }

// Attach is the reverse. Sessions look for what was stored meanwhile.
func (v *Vault) Attach(st *inbox.Store) {
	v.mu.Lock()
	f := v.recover
	v.mu.Unlock()
	if f != nil {
		st.OnRecover(f)
	}
	v.in.Store(st)
	if f != nil {
		f()
	}
}

var errDetached = fmt.Errorf("%w: it is moving to another process", store.ErrUnavailable)

func (v *Vault) Begin(to store.Box, e store.Entry) store.Pending {
	if st := v.in.Load(); st != nil {
		return st.Begin(to, e)
	}
	return noPending{}
}

// noPending is a message that cannot be stored.
type noPending struct{}

func (noPending) Finish(context.Context) (store.Receipt, error) { return store.Receipt{}, errDetached }

func (v *Vault) Read(ctx context.Context, b store.Box, after uint64, maxBytes int) (store.Page, error) {
	if st := v.in.Load(); st != nil {
		return st.Read(ctx, b, after, maxBytes)
	}
	return store.Page{}, errDetached
}

func (v *Vault) Get(ctx context.Context, b store.Box, offset uint64) (*store.Message, error) {
	if st := v.in.Load(); st != nil {
		return st.Get(ctx, b, offset)
	}
	return nil, errDetached
}

func (v *Vault) Last(ctx context.Context, b store.Box) (uint64, error) {
	if st := v.in.Load(); st != nil {
		return st.Last(ctx, b)
	}
	return 0, errDetached
}

func (v *Vault) Before(ctx context.Context, b store.Box, t time.Time) (uint64, error) {
	if st := v.in.Load(); st != nil {
		return st.Before(ctx, b, t)
	}
	return 0, errDetached
}

func (v *Vault) Acked(ctx context.Context, b store.Box, user string) (uint64, bool, error) {
	if st := v.in.Load(); st != nil {
		return st.Acked(ctx, b, user)
	}
	return 0, false, errDetached
}

func (v *Vault) Ack(b store.Box, user string, offset uint64) {
	if st := v.in.Load(); st != nil {
		st.Ack(b, user, offset)
	}
}

func (v *Vault) AckSync(ctx context.Context, b store.Box, user string, offset uint64) error {
	if st := v.in.Load(); st != nil {
		return st.AckSync(ctx, b, user, offset)
	}
	return errDetached
}

func (v *Vault) Renew(b store.Box, user string, offset uint64) {
	if st := v.in.Load(); st != nil {
		st.Renew(b, user, offset)
	}
}

// RenewInterval is asked once, when the store is attached.
func (v *Vault) RenewInterval() time.Duration {
	if st := v.in.Load(); st != nil {
		return st.RenewInterval()
	}
	return time.Hour
}

func (v *Vault) Purge(ctx context.Context, b store.Box) (uint64, error) {
	if st := v.in.Load(); st != nil {
		return st.Purge(ctx, b)
	}
	return 0, errDetached
}

func (v *Vault) Epoch(b store.Box) string {
	if st := v.in.Load(); st != nil {
		return st.Epoch(b)
	}
	return ""
}

func (v *Vault) Continues(ctx context.Context, b store.Box, epoch string, offset uint64) (bool, error) {
	if st := v.in.Load(); st != nil {
		return st.Continues(ctx, b, epoch, offset)
	}
	return false, errDetached
}

func (v *Vault) Ready() error {
	if st := v.in.Load(); st != nil {
		return st.Ready()
	}
	return errDetached
}

func (v *Vault) OnRecover(f func()) {
	v.mu.Lock()
	v.recover = f
	v.mu.Unlock()
	if st := v.in.Load(); st != nil {
		st.OnRecover(f)
	}
}

func (v *Vault) Stats() store.Stats {
	if st := v.in.Load(); st != nil {
		return st.Stats()
	}
	return store.Stats{}
}

// Close closes the store, if it is attached.
func (v *Vault) Close() {
	if st := v.Detach(); st != nil {
		st.Close()
	}
}

// Hung is that of the store; nil while it is detached.
func (v *Vault) Hung() <-chan struct{} {
	if st := v.in.Load(); st != nil {
		return st.Hung()
	}
	return nil
}
