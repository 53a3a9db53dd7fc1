package guard

import (
	"context"
	"fmt"
	"time"

	"fanfare/server/store"
)

// guarded is a Store whose panics are recovered.
type guarded struct {
	store.Store
	*recovery
}

// Store returns st with recovered panics: to its callers they look like a store that is
// not available. panicked is called with the method and the value of each panic.
func Store(st store.Store, panicked func(where string, v any)) store.Store {
	return guarded{st, &recovery{"Store", store.ErrUnavailable, panicked}}
}

func (g guarded) Begin(to store.Box, e store.Entry) (p store.Pending) {
	p = notBegun{}
	defer g.recovered("Begin", nil)
	return pending{g.Store.Begin(to, e), g}
}

// notBegun is an entry whose Begin has panicked.
type notBegun struct{}

func (notBegun) Finish(context.Context) (store.Receipt, error) {
	return store.Receipt{}, fmt.Errorf("%w: panic in Store.Begin", store.ErrUnavailable)
}

type pending struct {
	store.Pending
	store guarded
}

func (p pending) Finish(ctx context.Context) (r store.Receipt, err error) {
	defer p.store.recovered("Begin.Finish", &err)
	return p.Pending.Finish(ctx)
}

func (g guarded) Read(ctx context.Context, b store.Box, after uint64, maxBytes int) (p store.Page, err error) {
	defer g.recovered("Read", &err)
	return g.Store.Read(ctx, b, after, maxBytes)
}

func (g guarded) Get(ctx context.Context, b store.Box, offset uint64) (m *store.Message, err error) {
	defer g.recovered("Get", &err)
	return g.Store.Get(ctx, b, offset)
}

func (g guarded) Last(ctx context.Context, b store.Box) (offset uint64, err error) {
	defer g.recovered("Last", &err)
	return g.Store.Last(ctx, b)
}

func (g guarded) Before(ctx context.Context, b store.Box, t time.Time) (offset uint64, err error) {
	defer g.recovered("Before", &err)
	return g.Store.Before(ctx, b, t)
}

func (g guarded) Acked(ctx context.Context, b store.Box, user string) (offset uint64, known bool, err error) {
	defer g.recovered("Acked", &err)
	return g.Store.Acked(ctx, b, user)
}

func (g guarded) Ack(b store.Box, user string, offset uint64) {
	defer g.recovered("Ack", nil)
	g.Store.Ack(b, user, offset)
}

func (g guarded) AckSync(ctx context.Context, b store.Box, user string, offset uint64) (err error) {
	defer g.recovered("AckSync", &err)
	return g.Store.AckSync(ctx, b, user, offset)
}

func (g guarded) Renew(b store.Box, user string, offset uint64) {
	defer g.recovered("Renew", nil)
	g.Store.Renew(b, user, offset)
}

func (g guarded) RenewInterval() (d time.Duration) {
	d = time.Hour
	defer g.recovered("RenewInterval", nil)
	return g.Store.RenewInterval()
}

func (g guarded) Epoch(b store.Box) (epoch string) {
	defer g.recovered("Epoch", nil)
	return g.Store.Epoch(b)
}

func (g guarded) Continues(ctx context.Context, b store.Box, epoch string, offset uint64) (ok bool, err error) {
	defer g.recovered("Continues", &err)
	return g.Store.Continues(ctx, b, epoch, offset)
}

func (g guarded) Purge(ctx context.Context, b store.Box) (n uint64, err error) {
	defer g.recovered("Purge", &err)
	return g.Store.Purge(ctx, b)
}

func (g guarded) Ready() (err error) {
	defer g.recovered("Ready", &err)
	return g.Store.Ready()
}

func (g guarded) OnRecover(f func()) {
	defer g.recovered("OnRecover", nil)
	g.Store.OnRecover(f)
}

func (g guarded) Stats() (s store.Stats) {
	defer g.recovered("Stats", nil)
	return g.Store.Stats()
}

func (g guarded) Close() {
	defer g.recovered("Close", nil)
	g.Store.Close()
}

// Rewind implements store.Rewinder.
func (g guarded) Rewind(ctx context.Context, b store.Box, n int) (after uint64, err error) {
	defer g.recovered("Rewind", &err)
	return store.Rewind(ctx, g.Store, b, n)
}

// Empty implements store.Emptier.
func (g guarded) Empty(b store.Box) (empty bool) {
	defer g.recovered("Empty", nil)
	return store.Empty(g.Store, b)
}
