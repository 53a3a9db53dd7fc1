package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server/inbox"
	"fanfare/server/store"
)

// withInbox is the Config of a server that keeps messages, in a new directory.
func withInbox(t testing.TB, set ...func(*inbox.Config)) Config {
	t.Helper()
	cfg := inbox.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	for _, f := range set {
		f(&cfg)
	}
	st, err := inbox.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close) // after the server's: it is registered before
	return Config{Store: st}
}

func pushDurable(t testing.TB, srv *Server, user, text string) Stored {
	t.Helper()
	st, err := srv.PushStored(context.Background(), user, Entry{Op: Text, Payload: []byte(text)})
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	return st
}

// messages reads n messages and answers pings that come between, and the one
// after them, unless silent.
func (c *client) messages(n int, silent bool) (texts []string) {
	c.t.Helper()
	for pinged := false; len(texts) < n || !pinged; {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("after %d of %d messages: %v", len(texts), n, err)
		}
		switch op {
		case Text, Binary:
			texts = append(texts, string(payload))
			pinged = false
		case ws.OpPing:
			if !silent {
				c.send(ws.OpPong, string(payload))
			}
			pinged = true
		}
	}
	return texts
}

// acked waits until everything up to an offset is.
func acked(t testing.TB, srv *Server, user string, offset uint64) {
	t.Helper()
	await(t, "acknowledged", func() bool {
		at, _, err := srv.cfg.Store.Acked(context.Background(), store.Box{User: user}, user)
		return err == nil && at >= offset
	})
}

func TestUnread(t *testing.T) {
	srv := start(t, withInbox(t))
	pushDurable(t, srv, "alice", "one")
	last := pushDurable(t, srv, "alice", "two")
	if last.Receivers != 0 {
		t.Errorf("%d receivers", last.Receivers)
	}
	pushDurable(t, srv, "bob", "not for alice")

	c := dial(t, srv, "/ws?user=alice")
	if got := c.messages(2, true); strings.Join(got, " ") != "one two" {
		t.Fatalf("got %q", got)
	}
	c.Close()
	// The pong is missing: they are unread still.
	c = dial(t, srv, "/ws?user=alice")
	if got := c.messages(2, false); strings.Join(got, " ") != "one two" {
		t.Fatalf("got %q", got)
	}
	acked(t, srv, "alice", last.Offset)
	if st := pushDurable(t, srv, "alice", "three"); st.Receivers != 1 {
		t.Errorf("%d receivers", st.Receivers)
	}
	last = pushDurable(t, srv, "alice", "four")
	if got := c.messages(2, false); strings.Join(got, " ") != "three four" {
		t.Fatalf("got %q", got)
	}
	acked(t, srv, "alice", last.Offset)
	c.Close()
	c = dial(t, srv, "/ws?user=alice")
	await(t, "the look at the inbox", func() bool { return srv.Stats().Replay.Sessions == 0 })
	push(srv, "alice", Text, []byte("live"))
	c.want(Text, "live")
}

// TestUnreadLargerThanTheWindow: a replay waits for the client, and does not fill
// its queue.
func TestUnreadLargerThanTheWindow(t *testing.T) {
	cfg := withInbox(t, func(in *inbox.Config) { in.Bytes = 8 << 20 })
	cfg.QueueBytes = 8 << 10
	srv := start(t, cfg)
	var want []string
	for i := range 300 {
		text := fmt.Sprintf("%05d%s", i, strings.Repeat("x", 3000))
		want = append(want, text)
		pushDurable(t, srv, "alice", text)
	}
	c := dial(t, srv, "/ws?user=alice")
	await(t, "the first window", func() bool { return srv.stats.Replayed.Load() > 0 })
	if n := srv.stats.Replayed.Load(); n > 10 {
		t.Errorf("%d messages are on the way to a client that says nothing", n)
	}
	last := pushDurable(t, srv, "alice", "the newest")
	want = append(want, "the newest")
	for i, got := range c.messages(len(want), false) {
		if got != want[i] {
			t.Fatalf("%d: got %.10q, want %.10q", i, got, want[i])
		}
	}
	acked(t, srv, "alice", last.Offset)
}

// said is what a client of fanfare.v1 hears.
type said struct {
	Type, User, Text, Base64, Code, Topic string
	Offset                                uint64
	Gap                                   bool
}

func (c *client) hear() (m said) {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("heard nothing: %v", err)
		}
		if op == ws.OpPing {
			c.send(ws.OpPong, string(payload))
			continue
		}
		if err := json.Unmarshal(payload, &m); err != nil {
			c.t.Fatalf("%q: %v", payload, err)
		}
		return m
	}
}

const speaksV1 = "Sec-WebSocket-Protocol: fanfare.v1"

func TestEnvelopes(t *testing.T) {
	cfg := withInbox(t, func(in *inbox.Config) { in.Messages = 5 })
	srv := start(t, cfg)
	var at []uint64
	for i := range 3 {
		at = append(at, pushDurable(t, srv, "alice", "\"text\"\n\x01 "+strconv.Itoa(i)).Offset)
	}
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	if m := c.hear(); m != (said{Type: "hello", User: "alice"}) {
		t.Fatalf("got %+v", m)
	}
	for i := range 3 {
		if m := c.hear(); m != (said{Type: "message", Offset: at[i], Text: "\"text\"\n\x01 " + strconv.Itoa(i)}) {
			t.Fatalf("got %+v", m)
		}
	}
	push(srv, "alice", Binary, []byte{0, 0xff})
	if m := c.hear(); m != (said{Type: "message", Base64: "AP8="}) {
		t.Fatalf("got %+v", m)
	}
	for _, test := range []struct{ say, want string }{
		{`{"type":"subscribe","topic":"news"}`, "subscribe"},
		{`{"type":"unsubscribe","topic":"news"}`, "unsubscribe"},
		{`{"type":"subscribe","topic":""}`, "bad_name"},
		{`{"type":"ack","offset":999}`, "bad_offset"},
		{`{"type":"sing"}`, "bad_type"},
		{`{}`, "bad_type"},
		{`[]`, "bad_message"},
		{`nonsense`, "bad_message"},
	} {
		c.send(Text, test.say)
		if m := c.hear(); m.Type != test.want && m.Code != test.want {
			t.Errorf("%s: %+v", test.say, m)
		}
	}
	c.send(Text, fmt.Sprintf(`{"type":"ack","epoch":%q,"offset":%d}`, srv.cfg.Store.Epoch(store.Box{User: "alice"}), at[1]))
	acked(t, srv, "alice", at[1])

	// Without an offset a client gets what no session has acknowledged; with one, what follows it.
	if m := dial(t, srv, "/ws?user=alice", speaksV1).hear(); m.Offset != at[1] {
		t.Errorf("got %+v", m)
	}
	second := dial(t, srv, "/ws?user=alice&offset="+strconv.FormatUint(at[0], 10)+"&epoch="+srv.cfg.Store.Epoch(store.Box{User: "alice"}), speaksV1)
	if m := second.hear(); m != (said{Type: "hello", User: "alice", Offset: at[0]}) {
		t.Errorf("got %+v", m)
	}
	if m := second.hear(); m.Offset != at[1] || m.Gap {
		t.Errorf("got %+v", m)
	}
	// The gap is reported.
	for range 6 {
		pushDurable(t, srv, "alice", "more")
	}
	third := dial(t, srv, "/ws?user=alice&offset="+strconv.FormatUint(at[1], 10)+"&epoch="+srv.cfg.Store.Epoch(store.Box{User: "alice"}), speaksV1)
	if m := third.hear(); !m.Gap || m.Type != "hello" {
		t.Errorf("got %+v", m)
	}
	if m := third.hear(); m.Gap || m.Text != "more" {
		t.Errorf("got %+v", m)
	}
	rejected := connect(t, srv)
	rejected.say(handshakeFor("/ws?user=alice&offset=x", speaksV1))
	if got := rejected.answer().StatusCode; got != 400 {
		t.Errorf("bad offset: %d", got)
	}
}

func TestEnvelopesWithoutInbox(t *testing.T) {
	srv := start(t, Config{})
	c := dial(t, srv, "/ws?user=alice&topic=t", speaksV1)
	if m := c.hear(); m != (said{Type: "hello", User: "alice"}) {
		t.Fatalf("got %+v", m)
	}
	publish(srv, "t", Text, []byte("x"))
	if m := c.hear(); m != (said{Type: "message", Text: "x"}) {
		t.Fatalf("got %+v", m)
	}
	c.send(Text, `{"type":"ack","offset":1}`)
	if m := c.hear(); m.Code != "no_inbox" {
		t.Fatalf("got %+v", m)
	}
	if _, err := srv.PushStored(context.Background(), "alice", Entry{Op: Text}); err != ErrNoStore {
		t.Errorf("got %v", err)
	}
}

func TestExpired(t *testing.T) {
	srv := start(t, withInbox(t))
	if _, err := srv.PushStored(context.Background(), "alice", Entry{Op: Text, Payload: []byte("old"), TTL: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	pushDurable(t, srv, "alice", "")
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	if m := c.hear(); m.Type != "hello" || !m.Gap {
		t.Errorf("got %+v", m)
	}
	if m := c.hear(); m.Text != "" || m.Type != "message" {
		t.Errorf("got %+v", m)
	}
}

func TestSameID(t *testing.T) {
	srv := start(t, withInbox(t))
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	c.hear()
	var first Stored
	for i := range 3 {
		st, err := srv.PushStored(context.Background(), "alice", Entry{Op: Text, Payload: []byte("x"), ID: "7"})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = st
		}
		if !reflect.DeepEqual(st, first) {
			t.Errorf("%d: %+v, and first %+v", i, st, first)
		}
	}
	pushDurable(t, srv, "alice", "y")
	if m := c.hear(); m.Text != "x" {
		t.Errorf("got %+v", m)
	}
	if m := c.hear(); m.Text != "y" {
		t.Errorf("got %+v", m)
	}
}

// TestOrderWhileComingAndGoing: whatever happens, a client that resumes sees every
// message, in order.
func TestOrderWhileComingAndGoing(t *testing.T) {
	cfg := withInbox(t, func(in *inbox.Config) { in.Messages = 10_000 })
	srv := start(t, cfg)
	const users, pushers, each = 4, 3, 100
	var all sync.WaitGroup
	var mu sync.Mutex
	pushed := make(map[string]map[uint64]string)
	for p := range pushers {
		all.Go(func() {
			for i := range each * users {
				user, text := strconv.Itoa(i%users), fmt.Sprintf("%d/%d", p, i)
				st := pushDurable(t, srv, user, text)
				mu.Lock()
				if pushed[user] == nil {
					pushed[user] = make(map[uint64]string)
				}
				pushed[user][st.Offset] = text
				mu.Unlock()
			}
		})
	}
	for u := range users {
		all.Go(func() {
			got := make(map[uint64]string)
			var last uint64
			duplicates := 0
			for round := 1; len(got) < pushers*each; round++ {
				path := "/ws?user=" + strconv.Itoa(u)
				if round%2 == 0 {
					path += "&offset=" + strconv.FormatUint(last, 10) + "&epoch=" + srv.cfg.Store.Epoch(store.Box{User: "alice"})
				}
				c := dial(t, srv, path, speaksV1)
				c.hear()
				for n := 0; n < 5*round && len(got) < pushers*each; n++ {
					m := c.hear()
					if m.Gap {
						t.Errorf("user %d: gap before %d", u, m.Offset)
					}
					if m.Offset <= last {
						duplicates++
						if got[m.Offset] != m.Text {
							t.Errorf("user %d: %d is %q, and was %q", u, m.Offset, m.Text, got[m.Offset])
						}
						continue
					}
					last, got[m.Offset] = m.Offset, m.Text
				}
				if round%3 == 0 {
					c.send(Text, fmt.Sprintf(`{"type":"ack","epoch":%q,"offset":%d}`, srv.cfg.Store.Epoch(store.Box{User: "alice"}), last))
				}
				c.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			for offset, text := range pushed[strconv.Itoa(u)] {
				if got[offset] != text {
					t.Errorf("user %d: %d is %q, want %q", u, offset, got[offset], text)
				}
			}
			t.Logf("user %d: %d duplicates", u, duplicates)
		})
	}
	all.Wait()
}
