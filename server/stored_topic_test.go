package server

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server/inbox"
	"fanfare/server/store"
)

// withTopics is withInbox with durable topics news.*.
func withTopics(t testing.TB, set ...func(*inbox.Config)) Config {
	cfg := withInbox(t, set...)
	cfg.DurableTopics = []string{"news.*"}
	// Positions of first-time subscribers are stored only where the identity is
	// proven: clients could invent topics.
	push := PushEndpoint("/ws")
	push.Insecure = false
	cfg.Endpoints = []Endpoint{push, EchoEndpoint("/echo")}
	return cfg
}

func publishDurable(t testing.TB, srv *Server, topic, text string) Stored {
	t.Helper()
	st, err := srv.PublishStored(context.Background(), topic, Entry{Op: Text, Payload: []byte(text)})
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return st
}

// followed waits until a user's position in a topic is stored, and at least this offset.
func followed(t testing.TB, srv *Server, topic, user string, offset uint64) {
	t.Helper()
	await(t, "the place in the topic", func() bool {
		at, known, err := srv.cfg.Store.Acked(context.Background(), store.Box{Topic: topic}, user)
		return err == nil && known && at >= offset
	})
}

// TestTopicResumes: a plain client, which gives no offset.
func TestTopicResumes(t *testing.T) {
	srv := start(t, withTopics(t))
	publishDurable(t, srv, "news.a", "before")
	c := dial(t, srv, "/ws?user=alice&topic=news.a&topic=live")
	followed(t, srv, "news.a", "alice", 1)
	if st := publishDurable(t, srv, "news.a", "one"); st.Receivers != 1 || st.Offset != 2 {
		t.Errorf("got %+v", st)
	}
	pushDurable(t, srv, "alice", "mine")
	got := c.messages(2, false)
	slices.Sort(got) // messages of different boxes have no order
	if strings.Join(got, " ") != "mine one" {
		t.Fatalf("got %q", got)
	}
	followed(t, srv, "news.a", "alice", 2)
	acked(t, srv, "alice", 1)
	publish(srv, "live", Text, []byte("now"))
	c.want(Text, "now")
	c.Close()
	await(t, "alice is gone", func() bool { return srv.Count() == 0 })
	publishDurable(t, srv, "news.a", "two")
	publishDurable(t, srv, "news.a", "three")
	publishDurable(t, srv, "news.b", "not subscribed")

	// The message was not acknowledged, so it is redelivered.
	for _, silent := range []bool{true, false} {
		c = dial(t, srv, "/ws?user=alice&topic=news.a")
		if got := c.messages(2, silent); strings.Join(got, " ") != "two three" {
			t.Fatalf("got %q", got)
		}
		if !silent {
			followed(t, srv, "news.a", "alice", 4)
		}
		c.Close()
	}
	c = dial(t, srv, "/ws?user=alice&topic=news.a&topic=news.b")
	followed(t, srv, "news.b", "alice", 0)
	publishDurable(t, srv, "news.a", "four")
	if got := c.messages(1, false); got[0] != "four" {
		t.Fatalf("got %q", got)
	}
	// Without a subscription no message comes; a new one resumes.
	srv.unsubscribeHere("alice", "news.a")
	followed(t, srv, "news.a", "alice", 6)
	publishDurable(t, srv, "news.a", "five")
	srv.subscribeHere("alice", "news.a")
	if got := c.messages(1, false); got[0] != "five" {
		t.Fatalf("got %q", got)
	}
}

// TestTopicEmptyAtFirst: following is remembered, even if there was nothing yet.
func TestTopicEmptyAtFirst(t *testing.T) {
	cfg := withTopics(t, func(in *inbox.Config) { in.Age = 2 * time.Second })
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice&topic=news.a")
	followed(t, srv, "news.a", "alice", 0)
	c.Close()
	publishDurable(t, srv, "news.a", "first")
	c = dial(t, srv, "/ws?user=alice&topic=news.a")
	if got := c.messages(1, false); got[0] != "first" {
		t.Fatalf("got %q", got)
	}
	followed(t, srv, "news.a", "alice", 1)
	acked := srv.cfg.Store.Stats().Acked
	await(t, "the place is stored again", func() bool { return srv.cfg.Store.Stats().Acked > acked })
}

// TestTopicFromTheMomentOfFollowing: what is stored when the handshake is over and
// the store was not asked yet is for the client too.
func TestTopicFromTheMomentOfFollowing(t *testing.T) {
	srv := start(t, withTopics(t))
	for i := range 50 {
		user, text := "u"+strconv.Itoa(i), strconv.Itoa(i)
		c := dial(t, srv, "/ws?user="+user+"&topic=news.a")
		publishDurable(t, srv, "news.a", text)
		if got := c.messages(1, false); got[0] != text {
			t.Fatalf("got %q, want %q", got, text)
		}
		c.Close()
	}
}

func TestTopicEnvelopes(t *testing.T) {
	cfg := withTopics(t, func(in *inbox.Config) { in.Messages = 3 })
	srv := start(t, cfg)
	publishDurable(t, srv, "news.a", "before")
	c := dial(t, srv, "/ws?user=alice&topic=news.a", speaksV1)
	for _, want := range []said{{Type: "hello", User: "alice"}, {Type: "subscribe", Topic: "news.a", Offset: 1}} {
		if m := c.hear(); m != want {
			t.Fatalf("got %+v, want %+v", m, want)
		}
	}
	publishDurable(t, srv, "news.a", "one")
	if m := c.hear(); m != (said{Type: "message", Topic: "news.a", Offset: 2, Text: "one"}) {
		t.Fatalf("got %+v", m)
	}
	for _, test := range []struct {
		say  string
		want said
	}{
		{`{"type":"subscribe","topic":"news.b","offset":0}`, said{Type: "subscribe", Topic: "news.b"}},
		{`{"type":"subscribe","topic":"news.b"}`, said{Type: "subscribe", Topic: "news.b"}}, // again
		{`{"type":"unsubscribe","topic":"news.b"}`, said{Type: "unsubscribe", Topic: "news.b"}},
		{`{"type":"subscribe","topic":"news.b","epoch":"other","offset":99}`, said{Type: "subscribe", Topic: "news.b", Gap: true}},
		{`{"type":"unsubscribe","topic":"news.b"}`, said{Type: "unsubscribe", Topic: "news.b"}},
	} {
		c.send(Text, test.say)
		if m := c.hear(); m != test.want {
			t.Errorf("%s: got %+v, want %+v", test.say, m, test.want)
		}
	}
	for _, bad := range []string{`{"type":"ack","topic":"news.a","offset":9}`, `{"type":"ack","topic":"news.a"}`, `{"type":"ack","topic":"x","offset":1}`} {
		c.send(Text, bad)
		if m := c.hear(); m.Code != "bad_offset" {
			t.Errorf("%s: got %+v", bad, m)
		}
	}
	c.send(Text, fmt.Sprintf(`{"type":"ack","topic":"news.a","epoch":%q,"offset":2}`, srv.cfg.Store.Epoch(store.Box{Topic: "news.a"})))
	followed(t, srv, "news.a", "alice", 2)
	c.Close()
	for i := range 2 {
		publishDurable(t, srv, "news.a", strconv.Itoa(i))
	}
	// By the position of the user, or by the client's own offset.
	for _, test := range []struct {
		path   string
		offset uint64
		gap    bool
	}{{"", 2, false}, {"&offset.news.a=3", 3, false}, {"&offset.news.a=0", 0, true}} {
		path := "/ws?user=alice&topic=news.a" + test.path
		if test.path != "" {
			path += "&epoch.news.a=" + srv.cfg.Store.Epoch(store.Box{Topic: "news.a"})
		}
		c := dial(t, srv, path, speaksV1)
		c.hear()
		if m := c.hear(); m.Offset != test.offset || m.Gap != test.gap || m.Type != "subscribe" {
			t.Errorf("%q: got %+v", test.path, m)
		}
		if m := c.hear(); m.Type != "message" || m.Offset != max(test.offset, 1)+1 {
			t.Errorf("%q: got %+v", test.path, m)
		}
		c.Close()
	}
	publishDurable(t, srv, "news.a", "2")
	publishDurable(t, srv, "news.a", "3")
	c = dial(t, srv, "/ws?user=alice&topic=news.a", speaksV1)
	c.hear()
	if m := c.hear(); !m.Gap || m.Offset != 2 {
		t.Errorf("what was dropped is not reported: %+v", m)
	}
	bad := connect(t, srv)
	bad.say(handshakeFor("/ws?user=alice&topic=news.a&offset.news.a=x", speaksV1))
	if got := bad.answer().StatusCode; got != 400 {
		t.Errorf("bad offset: %d", got)
	}
}

// TestHold: what is pushed while older messages are on their way comes after them.
func TestHold(t *testing.T) {
	cfg := withTopics(t, func(in *inbox.Config) { in.Bytes = 8 << 20 })
	cfg.QueueBytes = 64 << 10
	srv := start(t, cfg)
	followed := dial(t, srv, "/ws?user=alice&topic=news.a")
	publishDurable(t, srv, "news.a", "topic 0")
	followed.messages(1, true)
	followed.Close()
	await(t, "alice is gone", func() bool { return srv.Count() == 0 })
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf("%03d", i)+strings.Repeat("x", 3000))
		pushDurable(t, srv, "alice", want[i])
	}
	want = append(want, "topic 0", "live 0", "live 1", "live 2")
	c := dial(t, srv, "/ws?user=alice&topic=news.a&topic=t")
	await(t, "the first window", func() bool { return srv.stats.Replayed.Load() > 5 })
	push(srv, "alice", Text, []byte("live 0"))
	publish(srv, "t", Text, []byte("live 1"))
	broadcast(srv, Text, []byte("live 2"))
	for i := 0; i < len(want); {
		op, payload, err := c.frame()
		if err != nil {
			t.Fatal(err)
		}
		if op == ws.OpPing {
			c.send(ws.OpPong, string(payload))
			continue
		}
		if string(payload) != want[i] {
			t.Fatalf("%d: got %.10q, want %.10q", i, payload, want[i])
		}
		i++
	}
	c.messages(0, false)
	push(srv, "alice", Text, []byte("live 3"))
	c.want(Text, "live 3")
}

// TestHoldIsBounded: by bytes, and by time.
func TestHoldIsBounded(t *testing.T) {
	cfg := withInbox(t, func(in *inbox.Config) { in.Bytes = 8 << 20 })
	cfg.QueueBytes = 64 << 10
	srv := start(t, cfg)
	for range 100 {
		pushDurable(t, srv, "alice", strings.Repeat("x", 3000))
	}
	for _, test := range []struct {
		name string
		live int
	}{{"bytes", 15}, {"time", 1}} {
		t.Run(test.name, func(t *testing.T) {
			before := srv.stats.Replayed.Load()
			c := dial(t, srv, "/ws?user=alice")
			await(t, "the first window", func() bool { return srv.stats.Replayed.Load() > before+5 })
			for range test.live {
				push(srv, "alice", Text, []byte(strings.Repeat("y", 3000)))
			}
			for n := 0; n < test.live; { // though no ping is answered
				op, payload, err := c.frame()
				if err != nil {
					t.Fatal(err)
				}
				if op == Text && payload[0] == 'y' {
					n++
				}
			}
			c.Close()
		})
	}
}
