package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// queue stores batches until they are posted, in order for each webhook, and dead letters.
// Its methods may be called concurrently.
type queue interface {
	// add stores a batch of a webhook. The error is errFull, errTooLong, or one that may pass.
	add(ctx context.Context, hook string, b *batch) error
	// next returns the first batch of a webhook after a position, errEmpty if there is none.
	next(ctx context.Context, hook string, after uint64) (at uint64, b batch, err error)
	// remove removes the batches of a webhook up to a position.
	remove(ctx context.Context, hook string, upTo uint64) error
	// hooks returns the webhooks of which there are batches.
	hooks(ctx context.Context) ([]string, error)

	// bury stores a dead letter; if the dead letters are full, the oldest are removed.
	bury(ctx context.Context, l *letter) error
	// letter returns the first dead letter after a position, errEmpty if there is none.
	letter(ctx context.Context, after uint64) (l letter, err error)
	// exhume removes a dead letter.
	exhume(ctx context.Context, at uint64) error

	usage(ctx context.Context) (usage, error)
	close()
}

// usage is how full a queue is.
type usage struct{ batches, bytes, dead int64 }

var (
	errEmpty   = errors.New("webhook: the queue is empty")
	errFull    = errors.New("webhook: the queue is full")
	errTooLong = errors.New("webhook: the event is longer than the queue takes")
)

// letter is a dead letter: a batch that will not be posted again by itself.
type letter struct {
	At       uint64    `json:"at,omitzero"` // its position
	Hook     string    `json:"-"`           // id of the webhook
	Webhook  string    `json:"webhook"`     // its name
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	Died     time.Time `json:"died"`
	Dropped  int64     `json:"dropped"`
	Count    int64     `json:"count"`
	Oldest   time.Time `json:"oldest"`

	Events jsontext.Value `json:"events"` // a list
}

// batch returns the batch of the letter.
func (l *letter) batch() *batch {
	return &batch{count: l.Count, dropped: l.Dropped, oldest: l.Oldest, events: l.Events[1 : len(l.Events)-1]}
}

func newLetter(h *hook, b *batch, reason string, attempts int, now time.Time) *letter {
	events := make([]byte, 0, len(b.events)+2)
	events = append(append(append(events, '['), b.events...), ']')
	return &letter{Hook: h.id, Webhook: h.name, Reason: reason, Attempts: attempts, Died: stamp(now),
		Dropped: b.dropped, Count: b.count, Oldest: stamp(b.oldest), Events: events}
}
