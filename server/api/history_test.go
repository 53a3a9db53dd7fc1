package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/store"
)

// page is an answer with stored messages.
type page struct {
	User, Topic, Epoch string
	Acked, Next        uint64
	More               int
	Gap                bool
	Messages           []struct {
		Offset       uint64
		Text, Base64 *string
		Expires      *string
	}
}

func (s *apiServer) page(path string) (p page) {
	s.t.Helper()
	got := s.call("GET", path, "")
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != 200 {
		s.t.Fatalf("%s: %v", path, got)
	}
	return p
}

// texts returns the payloads, and what else there is to say.
func (p page) texts() (s string) {
	for _, m := range p.Messages {
		if m.Base64 != nil {
			s += "base64:" + *m.Base64 + " "
		} else {
			s += *m.Text + " "
		}
	}
	if p.More > 0 {
		s += fmt.Sprintf("%d more ", p.More)
	}
	if p.Gap {
		s += "gap"
	}
	return strings.TrimSpace(s)
}

func (s *apiServer) publishStored(topic, text string) server.Stored {
	s.t.Helper()
	st, err := s.PublishStored(context.Background(), topic, server.Entry{Op: server.Text, Payload: []byte(text)})
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func TestAPIHistory(t *testing.T) {
	cfg := withInbox(t, inbox.Config{Messages: 3})
	cfg.DurableTopics = []string{"news"}
	s := newAPIServer(t, cfg, Config{}, nil)
	first := s.publishStored("news", "1")
	s.call("POST", "/v1/topics/news/push?ttl=1h", "\x00\xff")
	s.publishStored("news", "3")
	const path = "/v1/topics/news/messages"
	after := func(offset uint64) string { return fmt.Sprintf("%s?after=%d", path, offset) }
	for _, tt := range []struct{ path, want string }{
		{path, "1 base64:AP8= 3"},
		{"/v1/messages?topic=news", "1 base64:AP8= 3"},
		{path + "?limit=2", "1 base64:AP8= 1 more"},
		{after(first.Offset), "base64:AP8= 3"},
		{after(first.Offset) + "&epoch=" + first.Epoch, "base64:AP8= 3"},
		{after(first.Offset) + "&epoch=other", "1 base64:AP8= 3 gap"},
		{after(first.Offset+2) + "&epoch=" + first.Epoch, ""},
		{after(first.Offset) + "&wait=1", "base64:AP8= 3"},
	} {
		p := s.page(tt.path)
		if p.texts() != tt.want || p.Topic != "news" || p.Epoch != first.Epoch {
			t.Errorf("%s: got %+v, want %s", tt.path, p, tt.want)
		}
	}
	p := s.page(path + "?limit=1")
	if p = s.page(after(p.Next) + "&limit=1&epoch=" + p.Epoch); p.texts() != "base64:AP8= 1 more" || p.Messages[0].Expires == nil {
		t.Errorf("the second page: got %+v", p)
	}
	s.publishStored("news", "4") // removes the first
	if p := s.page(path); p.texts() != "base64:AP8= 3 4 gap" {
		t.Errorf("after the first was removed: got %+v", p)
	}
	if p := s.page(after(first.Offset)); p.texts() != "base64:AP8= 3 4" {
		t.Errorf("after the first was removed: got %+v", p)
	}
	for path, want := range map[string]string{
		path + "?after=x":              `400 bad_query`,
		path + "?epoch=e":              `400 bad_query`,
		path + "?limit=0":              `400 bad_query`,
		path + "?limit=10001":          `400 bad_query`,
		path + "?wait=0":               `400 bad_query`,
		path + "?wait=61s":             `400 bad_query`,
		path + "?wait=soon":            `400 bad_query`,
		path + "?since=1":              `400 bad_query`,
		"/v1/topics/live/messages":     `409 not_durable`,
		"/v1/messages":                 `400 bad_query`,
		"/v1/topics/%00/messages":      `400 bad_name`,
		"/v1/users/bob/inbox?limit=0":  `400 bad_query`,
		"/v1/inbox?user=bob&wait=2m":   `400 bad_query`,
		"/v1/users/bob/inbox?epoch=e":  `400 bad_query`,
		"/v1/users/bob/inbox?after=-1": `400 bad_query`,
	} {
		if got := s.call("GET", path, ""); fmt.Sprint(got.status, " ", got.errorCode()) != want {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
	}
}

// TestAPIInboxPages: an inbox begins after what is acknowledged.
func TestAPIInboxPages(t *testing.T) {
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, nil)
	one := s.pushStored("alice", "one")
	s.pushStored("alice", "two")
	s.pushStored("alice", "three")
	if err := s.Acknowledge(t.Context(), "alice", server.Position{Epoch: one.Epoch, Offset: one.Offset}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v1/users/alice/inbox?limit=1":               "two 1 more",
		"/v1/inbox?user=alice&after=0&limit=1&wait=1": "one 2 more",
		"/v1/inbox?user=alice&after=2&epoch=other":    "one two three gap",
	} {
		if p := s.page(path); p.texts() != want || p.User != "alice" || p.Acked != one.Offset {
			t.Errorf("%s: got %+v, want %s", path, p, want)
		}
	}
}

// await waits until n requests wait.
func (s *apiServer) await(n int64) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.api.waiting.Load() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%d requests wait, want %d", s.api.waiting.Load(), n)
		}
	}
}

// later sends a request that waits, and returns a function that returns the answer.
func (s *apiServer) later(path string) func() answer {
	s.t.Helper()
	got, n := make(chan answer, 1), s.api.waiting.Load()
	go func() { got <- s.call("GET", path, "") }()
	s.await(n + 1)
	return func() answer { return <-got }
}

func TestAPIWait(t *testing.T) {
	cfg := withInbox(t, inbox.Config{})
	cfg.DurableTopics = []string{"news"}
	s := newAPIServer(t, cfg, Config{}, func(a *API) { a.maxWaiting = 2 })
	topic, inbox := s.later("/v1/topics/news/messages?wait=1m"), s.later("/v1/inbox?user=alice&wait=1m")
	if got := s.call("GET", "/v1/topics/news/messages?wait=1m", ""); got.status != 429 || got.errorCode() != "too_many_waiting" {
		t.Errorf("one too many: got %v", got)
	}
	if got := s.call("GET", "/v1/stats", ""); !strings.Contains(got.body, `"waiting":2,"max_waiting":2`) {
		t.Errorf("got %v", got)
	}
	s.publishStored("news", "goal")
	if got := topic(); !strings.Contains(got.body, `"text":"goal"`) {
		t.Errorf("got %v", got)
	}
	s.await(1)
	s.pushStored("bob", "not for alice")
	s.pushStored("alice", "hello")
	if got := inbox(); !strings.Contains(got.body, `"text":"hello"`) || strings.Contains(got.body, "bob") {
		t.Errorf("got %v", got)
	}
	if got := s.call("GET", "/v1/inbox?user=carol&wait=1ms", ""); !strings.Contains(got.body, `"messages":[],"next":0,"more":0,"gap":false`) {
		t.Errorf("without a message: got %v", got)
	}
	if got := s.call("GET", "/metrics", ""); strings.Contains(got.body, `fanfare_api_request_seconds_count{method="GET",route="/v1/inbox"} 1`) {
		t.Error("the duration of a wait was measured")
	}
}

// TestAPIWaitEnds: what ends the server ends a wait, with an empty answer, and rejects another.
func TestAPIWaitEnds(t *testing.T) {
	const path = "/v1/users/alice/inbox?wait=1m"
	for name, tt := range map[string]struct {
		end    func(s *apiServer)
		closed bool // no further request is served
	}{
		"drain":         {func(s *apiServer) { s.Drain(context.Background()) }, false},
		"release store": {func(s *apiServer) { s.ReleaseStore(context.Background(), func() {}) }, false},
		"leave":         {func(s *apiServer) { s.api.endWaits() }, false},
		"shutdown":      {func(s *apiServer) { s.api.Shutdown() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, nil)
			wait := s.later(path)
			tt.end(s)
			if got := wait(); got.status != 200 || !strings.Contains(got.body, `"messages":[]`) || !strings.Contains(got.body, `"epoch":"`) {
				t.Errorf("got %v", got)
			}
			if tt.closed {
				return
			}
			if got := s.call("GET", path, ""); got.status != 503 || got.errorCode() != "shutting_down" {
				t.Errorf("another one: got %v", got)
			}
			if name == "release store" {
				s.RestoreStore()
				wait := s.later(path)
				s.pushStored("alice", "x")
				if got := wait(); !strings.Contains(got.body, `"text":"x"`) {
					t.Errorf("after RestoreStore: got %v", got)
				}
			}
		})
	}
}

// TestAPIHistoryUnavailable: a store that cannot be read is an error, also for a wait.
func TestAPIHistoryUnavailable(t *testing.T) {
	cfg := withInbox(t, inbox.Config{})
	cfg.DurableTopics = []string{"news"}
	cfg.Store = unreadable{cfg.Store}
	s := newAPIServer(t, cfg, Config{}, nil)
	for _, path := range []string{"/v1/topics/news/messages", "/v1/messages?topic=news&wait=1s"} {
		if got := s.call("GET", path, ""); got.status != 503 || got.errorCode() != "unavailable" {
			t.Errorf("%s: got %v", path, got)
		}
	}
}

// unreadable is a Store that cannot be read.
type unreadable struct{ store.Store }

func (unreadable) Read(context.Context, store.Box, uint64, int) (store.Page, error) {
	return store.Page{}, store.ErrUnavailable
}
