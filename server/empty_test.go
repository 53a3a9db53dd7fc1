package server

import (
	"context"
	"sync/atomic"
	"testing"

	"fanfare/server/inbox"
	"fanfare/server/store"
)

// askedStore counts questions for the last message.
type askedStore struct {
	*inbox.Store
	asked atomic.Int32
}

func (s *askedStore) Last(ctx context.Context, b store.Box) (uint64, error) {
	s.asked.Add(1)
	return s.Store.Last(ctx, b)
}

// The login of a user without messages asks the store nothing, and the first message comes
// all the same; a user with messages is looked up.
func TestLoginWithoutMessages(t *testing.T) {
	cfg := withInbox(t)
	st := &askedStore{Store: cfg.Store.(*inbox.Store)}
	cfg.Store = st
	srv := start(t, cfg)
	a := dial(t, srv, "/ws?user=alice")
	await(t, "the session", func() bool { return srv.Count() == 1 })
	if n := st.asked.Load(); n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	pushDurable(t, srv, "alice", "one")
	if got := a.messages(1, true); got[0] != "one" {
		t.Errorf("got %q", got)
	}
	pushDurable(t, srv, "bob", "two")
	b := dial(t, srv, "/ws?user=bob")
	if got := b.messages(1, true); got[0] != "two" || st.asked.Load() == 0 {
		t.Errorf("got %q, the store was asked %d times", got, st.asked.Load())
	}
}
