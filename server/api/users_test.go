package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/server"
)

// lookUp is GET /v1/users/{user}.
func (s *apiServer) lookUp(user string) (online bool, connections []server.SessionInfo) {
	s.t.Helper()
	var info struct {
		User     string
		Online   bool
		Sessions []server.SessionInfo
	}
	got := s.call("GET", "/v1/users/"+user, "")
	if err := json.Unmarshal([]byte(got.body), &info); err != nil || got.status != 200 || info.User != user {
		s.t.Fatalf("%v, %v", got, err)
	}
	return info.Online, info.Sessions
}

func TestAPIUser(t *testing.T) {
	push := server.PushEndpoint("/ws")
	push.Dialects = []server.Dialect{named{server.Plain(), "v1.push"}, server.Plain()}
	s := newAPIServer(t, server.Config{Endpoints: []server.Endpoint{push}, CloseTimeout: time.Minute}, Config{}, nil)
	if got := s.call("GET", "/v1/users/alice", ""); got.body != `{"user":"alice","online":false,"complete":true,"sessions":[]}`+"\n" {
		t.Errorf("offline: %v", got)
	}
	before := time.Now().Add(-2 * time.Second / 10)
	laptop := s.connect("/ws?user=alice&topic=sport&topic=news")
	phone := s.connect("/ws?user=alice")
	online, list := s.lookUp("alice")
	if !online || len(list) != 2 {
		t.Fatalf("got %v, %+v", online, list)
	}
	i := slices.IndexFunc(list, func(c server.SessionInfo) bool { return c.RemoteAddr == laptop.LocalAddr().String() })
	if i < 0 {
		t.Fatalf("no session is from %v: %+v", laptop.LocalAddr(), list)
	}
	first, other := list[i], list[1-i]
	if !slices.Equal(first.Topics, []string{"news", "sport"}) || first.QueuedBytes != 0 || first.Protocol != "" {
		t.Errorf("got %+v", first)
	}
	if other.RemoteAddr != phone.LocalAddr().String() || len(other.Topics) != 0 || other.ID == first.ID {
		t.Errorf("got %+v beside %+v", other, first)
	}
	if first.Opened.Before(before) || first.Opened.After(time.Now().Add(time.Second/10)) {
		t.Errorf("opened %v", first.Opened)
	}
	if got := s.call("GET", "/v1/users/alice", ""); !strings.Contains(got.body, `"topics":[]`) {
		t.Errorf("no topics are null: %v", got)
	}

	if got := s.call("DELETE", "/v1/users/alice?code=4001&reason=signed+out", ""); got.status != 200 || got.body != `{"closed":2}`+"\n" {
		t.Errorf("got %v", got)
	}
	laptop.expectClose(4001, "signed out")
	phone.expectClose(4001, "signed out")
	// They do not answer, so the connections are still there, but no message goes out.
	if online, list := s.lookUp("alice"); online || len(list) != 0 {
		t.Errorf("closing: %v, %+v", online, list)
	}
	if got := s.call("DELETE", "/v1/users/alice", ""); got.status != 404 {
		t.Errorf("again: %v", got)
	}
	if got := s.call("POST", "/v1/users/alice/push", "x"); got.body != `{"receivers":0}`+"\n" {
		t.Errorf("closing: %v", got)
	}
	bob := s.connect("/ws?user=bob")
	s.call("DELETE", "/v1/users/bob", "")
	bob.expectClose(frame.StatusPolicyViolation, "")
	for code, frame := range map[int]string{1000: "\x03\xe8", 1003: "\x03\xeb", 1007: "\x03\xef", 1014: "\x03\xf6", 3000: "\x0b\xb8", 4999: "\x13\x87"} {
		c := s.connect("/ws?user=carol")
		if got := s.call("DELETE", fmt.Sprint("/v1/users/carol?code=", code), ""); got.status != 200 {
			t.Errorf("%d: %v", code, got)
		}
		if _, payload := c.control(); string(payload) != frame {
			t.Errorf("%d: close frame with % x", code, payload)
		}
		c.Close()
	}
}

func TestAPITopics(t *testing.T) {
	s := newAPIServer(t, server.Config{TopicsPerSession: 3}, Config{}, nil)
	a1 := s.connect("/ws?user=alice")
	a2 := s.connect("/ws?user=alice&topic=news")
	steps := []struct {
		name, method, path string
		status             int
		want               string
	}{
		{"one subscriber", "GET", "/v1/topics/news", 200, `{"topic":"news","subscribers":1,"complete":true}`},
		{"no subscriber", "GET", "/v1/topics/a%2Fb", 200, `{"topic":"a/b","subscribers":0,"complete":true}`},
		{"subscribe", "PUT", "/v1/topics/news/users/alice", 200, `{"sessions":2}`},
		{"once more", "PUT", "/v1/topics/news/users/alice", 200, `{"sessions":2}`},
		{"two subscribers", "GET", "/v1/topics/news", 200, `{"topic":"news","subscribers":2,"complete":true}`},
		{"other topic", "PUT", "/v1/topics/a%2Fb/users/alice", 200, `{"sessions":2}`},
		{"unsubscribe", "DELETE", "/v1/topics/a%2Fb/users/alice", 200, `{"sessions":2}`},
		{"not subscribed", "DELETE", "/v1/topics/a%2Fb/users/alice", 200, `{"sessions":0}`},
		{"no subscriber left", "GET", "/v1/topics/a%2Fb", 200, `{"topic":"a/b","subscribers":0,"complete":true}`},
		{"third", "PUT", "/v1/topics/2/users/alice", 200, `{"sessions":2}`},
		{"fourth", "PUT", "/v1/topics/3/users/alice", 200, `{"sessions":2}`},
		{"too many", "PUT", "/v1/topics/4/users/alice", 409, `too_many_topics`},
	}
	for _, step := range steps {
		if got := s.call(step.method, step.path, ""); got.status != step.status || !strings.Contains(got.body, step.want) {
			t.Errorf("%s: got %v, want %d %s", step.name, got, step.status, step.want)
		}
	}
	s.call("POST", "/v1/topics/news/push", "x")
	a1.expect(server.Text, "x")
	a2.expect(server.Text, "x")
}

// TestRefreshDocument: what is wrong with a document is an answer that names it, and
// changes nothing.
func TestRefreshDocument(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	s.connect("/ws?user=alice")
	for _, tt := range []struct{ body, want string }{
		{`{}`, "changes nothing"},
		{``, "not one JSON object"},
		{`[]`, "not one JSON object"},
		{`{"expire":0}`, "unknown member"},
		{`{"subscribe":null}`, "is null"},
		{`{"subscribe":"news"}`, "wrong type"},
		{`{"subscribe":[""]}`, "subscribe"},
		{`{"expires":-1}`, "want seconds since 1970"},
		{`{"expires":1e15}`, "want seconds since 1970"},
		{`{"expires":"tomorrow"}`, "wrong type"},
		{`{"limits":{"mesages":1}}`, "unknown member limits.mesages: want messages or topics"},
		{`{"limits":{"messages":0}}`, "limits.messages is 0, a number: want a whole number from 1 to 2147483647"},
		{`{"limits":{"topics":"5"}}`, `limits.topics is \"5\", a string: want a whole number from 1 to 2147483647`},
		{`{"expires":0,"expires":1}`, "more than once"},
	} {
		got := s.call("POST", "/v1/users/alice/refresh", tt.body)
		if got.status != 400 || !strings.Contains(got.body, "bad_document") || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: %d %s, want %q", tt.body, got.status, got.body, tt.want)
		}
	}
	if got := s.call("POST", "/v1/users/nobody/refresh", `{"expires":0}`); got.status != 404 {
		t.Errorf("for a user without a session: %d %s", got.status, got.body)
	}
	for _, path := range []string{"/v1/users/alice/refresh", "/v1/refresh?user=alice"} {
		if got := s.call("POST", path, `{"subscribe":["news"],"limits":{"topics":1}}`); got.status != 200 || got.body != "{\"sessions\":1}\n" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if n := s.api.figures().Refreshes; n != 2 {
		t.Errorf("%d refreshes are counted", n)
	}
}
