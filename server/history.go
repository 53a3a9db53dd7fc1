package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanfare/server/internal/history"
	"fanfare/server/store"
)

// HistoryQuery says which stored messages to read.
type HistoryQuery struct {
	// After is the offset of the last message that the caller has, 0 for none.
	After uint64
	// Epoch is the one that After belongs to. Empty: After belongs to the present one.
	Epoch string
	// Limit bounds the number of messages; 0: no limit.
	Limit int
	// MaxBytes bounds their payloads together. One message of any size is read.
	MaxBytes int
	// Now is the clock that messages expire by; nil: time.Now.
	Now func() time.Time
}

// History is a part of the stored messages of a user or a durable topic.
type History struct {
	// Epoch belongs to all offsets here.
	Epoch string
	// Messages are the oldest after HistoryQuery.After, without those that have expired.
	Messages []store.Message
	// Next is HistoryQuery.After for what follows.
	Next uint64
	// More is the number of messages that follow.
	More int
	// Gap reports that messages after HistoryQuery.After, and before Messages or Next, are
	// not available, or that HistoryQuery.After belongs to another history.
	Gap bool
}

// ErrNoWait is the error of AwaitMessages while the server drains, or its store moves to
// another process.
var ErrNoWait = errors.New("server: draining or moving to another process: nothing may wait for messages")

// Messages reads stored messages, and acknowledges nothing. The error is ErrNoStore,
// ErrNotDurable or one of package store.
func (srv *Server) Messages(ctx context.Context, box store.Box, q HistoryQuery) (History, error) {
	if err := srv.hasHistory(box); err != nil {
		return History{}, err
	}
	p, err := srv.history.Read(ctx, box, history.Query(q))
	return History(p), err
}

// AwaitMessages is Messages, but if there is neither a message nor a gap it waits for one, at
// most for d: a message that any node of the cluster stores. If none comes, History has no
// messages. This holds also when the server begins to drain, or its store to move to
// another process; if it has begun before, the error is ErrNoWait. When ctx is done its error
// is returned. The caller bounds the number of calls in progress.
func (srv *Server) AwaitMessages(ctx context.Context, box store.Box, q HistoryQuery, d time.Duration) (History, error) {
	if err := srv.hasHistory(box); err != nil {
		return History{}, err
	}
	p, err := srv.history.Await(ctx, box, history.Query(q), d)
	if errors.Is(err, history.ErrEnded) {
		err = ErrNoWait
	}
	return History(p), err
}

func (srv *Server) hasHistory(box store.Box) error {
	switch {
	case srv.store == nil:
		return ErrNoStore
	case box.User == "" && !srv.Durable(box.Topic):
		return fmt.Errorf("%w: %q", ErrNotDurable, box.Topic)
	}
	return nil
}

// newHistory returns the history of the store, which is not nil.
func newHistory(srv *Server) *history.Service {
	cfg := history.Config{Store: srv.store}
	if srv.cluster != nil {
		cfg.Cluster = historyCluster{srv.cluster}
	}
	return history.New(cfg)
}

// historyCluster is a cluster as package history sees it.
type historyCluster struct{ cluster Cluster }

func (c historyCluster) Hold(b store.Box)    { c.cluster.Hold(Target(b)) }
func (c historyCluster) Release(b store.Box) { c.cluster.Release(Target(b)) }
func (c historyCluster) Sync(ctx context.Context, b store.Box) error {
	return c.cluster.Sync(ctx, Target(b))
}

// recheckStored looks for messages that other nodes could not announce.
func (srv *Server) recheckStored() {
	srv.replay.Recheck()
	srv.history.Recheck()
}

// resumeHistory permits AwaitMessages again, unless the server drains.
func (srv *Server) resumeHistory() {
	if srv.history == nil {
		return
	}
	if srv.history.Resume(); srv.Status() >= Draining {
		srv.history.End()
	}
}
