package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/server/store"
)

// epochStore is a Store with an epoch that tests choose; empty: not available.
type epochStore struct {
	store.Store
	mu        sync.Mutex
	epoch     string // guarded by mu
	recovered func() // guarded by mu
	finished  func() // called when an entry is stored, if it is not nil
}

func (e *epochStore) Epoch(store.Box) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.epoch
}

func (e *epochStore) Continues(_ context.Context, _ store.Box, epoch string, _ uint64) (bool, error) {
	return epoch == e.Epoch(store.Box{}), nil
}

func (e *epochStore) OnRecover(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recovered = f
}

// set changes the epoch, and tells the server as a Store does.
func (e *epochStore) set(epoch string) {
	e.mu.Lock()
	e.epoch = epoch
	f := e.recovered
	e.mu.Unlock()
	f()
}

func (e *epochStore) Begin(to store.Box, entry store.Entry) store.Pending {
	return epochPending{e.Store.Begin(to, entry), e}
}

type epochPending struct {
	store.Pending
	store *epochStore
}

func (p epochPending) Finish(ctx context.Context) (store.Receipt, error) {
	r, err := p.Pending.Finish(ctx)
	if p.store.finished != nil {
		p.store.finished()
	}
	return r, err
}

func withEpoch(t *testing.T, epoch string) (Config, *epochStore) {
	cfg := withTopics(t)
	st := &epochStore{Store: cfg.Store, epoch: epoch}
	cfg.Store = st
	return cfg, st
}

// text reads one text message, and answers pings before it.
func (c *client) text() string {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatal(err)
		}
		if op != ws.OpPing {
			return string(payload)
		}
		c.send(ws.OpPong, string(payload))
	}
}

func (c *client) wantText(want string) {
	c.t.Helper()
	if got := c.text(); got != want {
		c.t.Fatalf("got %s\nwant %s", got, want)
	}
}

// An offset means nothing without its epoch: while the store is away, the client gets
// neither.
func TestHelloWithoutEpoch(t *testing.T) {
	cfg, st := withEpoch(t, "")
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice&topic=news.a&offset=3&epoch=old", speaksV1)
	push(srv, "alice", Text, []byte("live"))
	c.wantText(`{"type":"hello","user":"alice"}`)
	c.wantText(`{"type":"message","text":"live"}`)
	st.set("e")
	got := []string{c.text(), c.text()} // of different boxes, in any order
	if got[0] > got[1] {
		got[0], got[1] = got[1], got[0]
	}
	for i, want := range []string{
		`{"type":"hello","user":"alice","epoch":"e","offset":0,"gap":true}`,
		`{"type":"subscribe","topic":"news.a","epoch":"e","offset":0}`,
	} {
		if got[i] != want {
			t.Errorf("got %s\nwant %s", got[i], want)
		}
	}
}

func TestHelloWithoutStore(t *testing.T) {
	srv := start(t, Config{})
	dial(t, srv, "/ws?user=alice", speaksV1).wantText(`{"type":"hello","user":"alice"}`)
	dial(t, srv, "/ws?user=alice&offset=3&epoch=old", speaksV1).wantText(`{"type":"hello","user":"alice","gap":true}`)
}

func TestOffsetsHaveEpochs(t *testing.T) {
	for _, tt := range []struct {
		c    Content
		want string
	}{
		{Content{Epoch: "e", Offset: 7}, `{"type":"message","epoch":"e","offset":7,"text":"x"}`},
		{Content{Topic: "t", Epoch: "e", Offset: 7}, `{"type":"message","topic":"t","epoch":"e","offset":7,"text":"x"}`},
		{Content{Offset: 7}, `{"type":"message","text":"x"}`},
		{Content{Epoch: "e"}, `{"type":"message","text":"x"}`},
	} {
		tt.c.Op, tt.c.Payload = Text, []byte("x")
		if got := string(V1().Encode(tt.c).Payload()); got != tt.want {
			t.Errorf("got %s\nwant %s", got, tt.want)
		}
	}
}

// PushStored names the position of a message with the epoch that it was stored in, or
// fails.
func TestEpochChangesWhileStoring(t *testing.T) {
	for _, tt := range []struct {
		before, after string
		want          error
	}{
		{"a", "a", nil},
		{"", "a", nil}, // it came back, and then stored the message
		{"a", "b", store.ErrUnavailable},
		{"a", "", store.ErrUnavailable},
		{"", "", store.ErrUnavailable},
	} {
		t.Run(fmt.Sprintf("%q to %q", tt.before, tt.after), func(t *testing.T) {
			cfg, st := withEpoch(t, tt.before)
			st.finished = func() { st.set(tt.after) }
			srv := start(t, cfg)
			got, err := srv.PushStored(t.Context(), "alice", Entry{Op: Text, Payload: []byte("x")})
			if !errors.Is(err, tt.want) || err == nil && (got.Epoch != tt.after || got.Offset == 0) {
				t.Errorf("%+v, %v, want epoch %q, %v", got, err, tt.after, tt.want)
			}
			if err != nil && (got.Epoch != "" || got.Offset != 0) {
				t.Errorf("an error and %+v", got)
			}
		})
	}
}

// A session that was connected while the epoch changed gets the message that was stored
// meanwhile, with the new one.
func TestEpochChangesWhileConnected(t *testing.T) {
	cfg, st := withEpoch(t, "a")
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	c.wantText(`{"type":"hello","user":"alice","epoch":"a","offset":0}`)
	first := pushDurable(t, srv, "alice", "first")
	c.wantText(fmt.Sprintf(`{"type":"message","epoch":"a","offset":%d,"text":"first"}`, first.Offset))
	st.finished = func() { st.set("b") }
	if _, err := srv.PushStored(t.Context(), "alice", Entry{Op: Text, Payload: []byte("second")}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "second"} { // the store says that nothing continues
		var m struct{ Epoch, Text string }
		if err := json.Unmarshal([]byte(c.text()), &m); err != nil || m.Epoch != "b" || m.Text != want {
			t.Errorf("got %+v, %v, want %s", m, err, want)
		}
	}
}

// A message that another node has stored is delivered when this node's store is back: only
// then its epoch is known.
func TestStoredElsewhereWithoutEpoch(t *testing.T) {
	cfg, st := withEpoch(t, "a")
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	c.wantText(`{"type":"hello","user":"alice","epoch":"a","offset":0}`)
	r, err := st.Store.Begin(store.Box{User: "alice"}, store.Entry{Payload: []byte("x")}).Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st.mu.Lock()
	st.epoch = ""
	st.mu.Unlock()
	member{srv}.Serve(&Command{Verb: VerbStored, User: "alice", Op: Text, Payload: []byte("x"), Epoch: "a", Offset: r.Offset, Prev: r.Prev})
	push(srv, "alice", Text, []byte("live"))
	c.wantText(`{"type":"message","text":"live"}`)
	st.set("a")
	c.wantText(fmt.Sprintf(`{"type":"message","epoch":"a","offset":%d,"text":"x"}`, r.Offset))
}

// A message that another node stored in another epoch is not taken for one of this node's:
// its offset would hide the messages up to there.
func TestStoredElsewhereInAnotherEpoch(t *testing.T) {
	cfg, st := withEpoch(t, "b")
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	c.wantText(`{"type":"hello","user":"alice","epoch":"b","offset":0}`)
	if r := (member{srv}).Serve(&Command{Verb: VerbStored, User: "alice", Op: Text, Payload: []byte("x"), Epoch: "a", Offset: 1 << 40}); r.Error != "" {
		t.Fatal(r.Error)
	}
	r, err := st.Store.Begin(store.Box{User: "alice"}, store.Entry{Payload: []byte("y")}).Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	member{srv}.Serve(&Command{Verb: VerbStored, User: "alice", Op: Text, Payload: []byte("y"), Epoch: "b", Offset: r.Offset, Prev: r.Prev})
	c.wantText(fmt.Sprintf(`{"type":"message","epoch":"b","offset":%d,"text":"y"}`, r.Offset))
}

// A client that acknowledges with the epoch that a message had, after the epoch has
// changed, has done nothing wrong: it gets no error, and nothing is stored. An epoch that
// the session has never seen is an error.
func TestAckOfEarlierEpoch(t *testing.T) {
	cfg, st := withEpoch(t, "a")
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	c.wantText(`{"type":"hello","user":"alice","epoch":"a","offset":0}`)
	at := pushDurable(t, srv, "alice", "x").Offset
	c.wantText(fmt.Sprintf(`{"type":"message","epoch":"a","offset":%d,"text":"x"}`, at))
	st.set("b")
	c.wantText(fmt.Sprintf(`{"type":"message","epoch":"b","offset":%d,"gap":true,"text":"x"}`, at)) // nothing continues
	c.send(Text, fmt.Sprintf(`{"type":"ack","epoch":"a","offset":%d}`, at))
	c.send(Text, `{"type":"unsubscribe","topic":"none"}`)
	c.wantText(`{"type":"unsubscribe","topic":"none"}`) // an answer to the ack would precede this one
	c.send(Text, fmt.Sprintf(`{"type":"ack","epoch":"other","offset":%d}`, at))
	c.wantText(`{"type":"error","code":"bad_offset","message":"no message with this offset and epoch was sent in this session"}`)
	if acked, _, err := st.Acked(t.Context(), store.Box{User: "alice"}, "alice"); acked != 0 || err != nil {
		t.Errorf("%d is acknowledged, %v", acked, err)
	}
	c.send(Text, fmt.Sprintf(`{"type":"ack","epoch":"b","offset":%d}`, at))
	acked(t, srv, "alice", at)
}
