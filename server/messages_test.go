package server

import (
	"context"
	"testing"

	"fanfare/server/store"
)

// TestLateNoticeOfDeletedMessage: a message that was deleted before its push has told the
// sessions of it is not sent any more.
func TestLateNoticeOfDeletedMessage(t *testing.T) {
	srv := start(t, withInbox(t))
	c := dial(t, srv, "/ws?user=alice")
	pushDurable(t, srv, "alice", "one")
	if got := c.messages(1, false); got[0] != "one" {
		t.Fatalf("got %q", got)
	}
	box, text := store.Box{User: "alice"}, []byte("deleted")
	r, err := srv.store.Begin(box, store.Entry{Payload: text}).Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := srv.Purge(context.Background(), box); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	srv.announceHere(box, srv.store.Epoch(box), r.Offset, r.Prev, NewMessage(Text, text), 0)
	pushDurable(t, srv, "alice", "two")
	if got := c.messages(1, false); got[0] != "two" {
		t.Errorf("got %q", got)
	}
}
