package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"fanfare/server/store"
)

// Query says what to read.
type Query = store.HistoryQuery

// Page is a part of the stored messages of a box.
type Page store.History

// says reports whether there is something for a caller that waits.
func (p *Page) says() bool { return len(p.Messages) > 0 || p.Gap }

// errEpochChanged: the answers of the store belong to different epochs.
var errEpochChanged = errors.New("history: epoch changed")

// epochTries bounds how often a box is read because its epoch has changed meanwhile.
const epochTries = 3

// Read returns stored messages. Errors are those of the store.
func (v *Service) Read(ctx context.Context, b store.Box, q Query) (p Page, err error) {
	for range epochTries {
		if p, err = v.read(ctx, b, q); !errors.Is(err, errEpochChanged) {
			return p, err
		}
	}
	return Page{}, fmt.Errorf("%w: the epoch of the box changed while it was read", store.ErrUnavailable)
}

func (v *Service) read(ctx context.Context, b store.Box, q Query) (Page, error) {
	db := v.cfg.Store
	p := Page{Epoch: db.Epoch(b), Next: q.After}
	if q.Epoch != "" || q.After > 0 { // an offset that is not stored yet belongs to another history
		ok, err := db.Continues(ctx, b, cmp.Or(q.Epoch, p.Epoch), q.After)
		if err != nil {
			return Page{}, err
		}
		if !ok {
			p.Next, p.Gap = 0, true
		}
	}
	found, err := db.Read(ctx, b, p.Next, q.MaxBytes)
	if err == nil && len(found.Messages) == 0 && (found.Gap || p.Gap) {
		found, err = v.readEnd(ctx, b, q, &p)
	}
	switch {
	case err != nil:
		return Page{}, err
	case p.Epoch == "":
		return Page{}, fmt.Errorf("%w: it has no epoch", store.ErrUnavailable)
	case db.Epoch(b) != p.Epoch:
		return Page{}, errEpochChanged
	}
	p.Gap = p.Gap || found.Gap
	now := time.Now
	if q.Now != nil {
		now = q.Now
	}
	p.take(&found, q.Limit, now())
	return p, nil
}

// readEnd reads a box again whose messages were removed. If there are still none, p.Next moves
// to the end, so that the gap is reported once.
func (v *Service) readEnd(ctx context.Context, b store.Box, q Query, p *Page) (store.Page, error) {
	p.Gap = true
	end, err := v.cfg.Store.Last(ctx, b)
	if err != nil {
		return store.Page{}, err
	}
	found, err := v.cfg.Store.Read(ctx, b, p.Next, q.MaxBytes) // finds what was stored before Last
	if err == nil && len(found.Messages) == 0 {
		p.Next = end
	}
	return found, err
}

// take adds messages up to the limit.
func (p *Page) take(found *store.Page, limit int, now time.Time) {
	p.More = len(found.Rest)
	for i := range found.Messages {
		m := &found.Messages[i]
		if limit > 0 && len(p.Messages) == limit {
			p.More += len(found.Messages) - i
			return
		}
		if p.Next = m.Offset; !m.Expired(now) {
			p.Messages = append(p.Messages, *m)
		}
	}
}
