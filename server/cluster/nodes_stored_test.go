package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/store"
)

// TestStoredOrder: messages that all nodes store at once arrive in the order of their
// offsets, without a gap or a duplicate, on every node.
func TestStoredOrder(t *testing.T) {
	all := startNodes(t, startNATS(t).ClientURL(), 3)
	clients := []*client{all[0].dial("user=alice"), all[1].dial("user=alice")}
	for _, c := range clients {
		c.want(said{Type: "hello", User: "alice"})
	}
	const each = 50
	var mu sync.Mutex
	var offsets []uint64
	var work sync.WaitGroup
	for i, n := range all {
		work.Go(func() {
			for k := range each {
				// An entry that the store did not confirm in time may be stored: the ID
				// makes the repetition harmless.
				st, err := n.push("alice", fmt.Sprintf("%d/%d", i, k))
				for errors.Is(err, store.ErrUnavailable) {
					st, err = n.push("alice", fmt.Sprintf("%d/%d", i, k))
				}
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				offsets = append(offsets, st.Offset)
				mu.Unlock()
			}
		})
	}
	got := make([][]uint64, len(clients))
	for i, c := range clients {
		work.Go(func() {
			for range each * len(all) {
				m := c.hear()
				if m.Gap {
					t.Errorf("gap before %d", m.Offset)
				}
				got[i] = append(got[i], m.Offset)
			}
		})
	}
	work.Wait()
	slices.Sort(offsets)
	for i := range clients {
		if !slices.Equal(got[i], offsets) {
			t.Errorf("client %d got %v, want %v", i, got[i], offsets)
		}
	}
}

// TestDurableTopic: a subscriber moves between nodes and misses nothing.
func TestDurableTopic(t *testing.T) {
	all := startNodes(t, startNATS(t).ClientURL(), 2, "news.*")
	c := all[0].dial("user=alice&topic=news.a")
	c.want(said{Type: "hello", User: "alice"})
	c.want(said{Type: "subscribe", Topic: "news.a"})
	known(t, all[1:], server.Target{Topic: "news.a"})
	publish := func(text string) uint64 {
		t.Helper()
		st, err := all[1].PublishStored(t.Context(), "news.a", server.Entry{Op: server.Text, Payload: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return st.Offset
	}
	first := publish("x")
	m := c.hear()
	if m.Text != "x" || m.Offset != first || m.Topic != "news.a" {
		t.Fatalf("got %+v", m)
	}
	c.say(`{"type":"ack","topic":"news.a","epoch":%q,"offset":%d}`, m.Epoch, m.Offset)
	await(t, "the ack is stored", func() bool {
		at, _, err := all[1].store.Acked(t.Context(), store.Box{Topic: "news.a"}, "alice")
		return err == nil && at == first
	})
	c.Close()
	await(t, "alice is gone", func() bool { return len(all[1].Sessions(t.Context(), "alice").Sessions) == 0 })
	await(t, "the store can tell that the first message is older", func() bool {
		at, err := all[1].store.Before(t.Context(), store.Box{Topic: "news.a"}, time.Now())
		return err == nil && at == first
	})
	second, third := publish("y"), publish("z")
	c = all[1].dial("user=alice&topic=news.a")
	if m := c.hear(); m.Type != "hello" {
		t.Fatalf("got %+v", m)
	}
	c.want(said{Type: "subscribe", Topic: "news.a", Offset: first})
	c.want(said{Type: "message", Topic: "news.a", Offset: second, Text: "y"})
	c.want(said{Type: "message", Topic: "news.a", Offset: third, Text: "z"})
}
