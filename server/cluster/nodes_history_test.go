package cluster_test

import (
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/store"
)

// TestAwaitMessages: what one node stores ends a wait at another one, without a session there.
func TestAwaitMessages(t *testing.T) {
	all := startNodes(t, startNATS(t).ClientURL(), 2, "news.*")
	for _, b := range []store.Box{{Topic: "news.a"}, {User: "alice"}} {
		before, err := all[0].Messages(t.Context(), b, server.HistoryQuery{MaxBytes: 1 << 10})
		if err != nil || len(before.Messages) > 0 {
			t.Fatalf("%v: got %+v, %v", b, before, err)
		}
		got := make(chan server.History, 1)
		go func() {
			h, err := all[0].AwaitMessages(t.Context(), b, server.HistoryQuery{MaxBytes: 1 << 10}, time.Hour)
			if err != nil {
				t.Error(err)
			}
			got <- h
		}()
		known(t, all[1:], server.Target(b)) // the node that waits is interested
		p, err := all[1].Begin(b, server.Entry{Op: server.Text, Payload: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		st, err := p.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h := <-got
		if len(h.Messages) != 1 || string(h.Messages[0].Payload) != "x" || h.Next != st.Offset || h.Epoch != st.Epoch {
			t.Errorf("%v: got %+v, want the message at %d", b, h, st.Offset)
		}
	}
}
