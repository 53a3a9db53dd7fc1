package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
)

// refreshing is an endpoint whose sessions are refreshed with the identity that a test
// sends, whatever their token is; the token "bad" is rejected.
func refreshing(id Identity, next <-chan Identity) Endpoint {
	ep := identified("/a", id, Hooks{})
	ep.Refresh = func(ctx context.Context, s *Session, token string) (Identity, error) {
		if _, bounded := ctx.Deadline(); !bounded || s.User() != id.User {
			return Identity{}, errors.New("no deadline, or another session")
		}
		switch token {
		case "bad":
			return Identity{}, Reject(401, "the token has expired")
		case "broken":
			return Identity{}, errors.New("the database is away")
		}
		return <-next, nil
	}
	return ep
}

const v1Header = "Sec-WebSocket-Protocol: fanfare.v1"

// TestRefresh: a session gets what the new identity may do, and loses what the old one
// alone allowed.
func TestRefresh(t *testing.T) {
	next := make(chan Identity, 1)
	srv := start(t, Config{Endpoints: []Endpoint{refreshing(Identity{
		User: "alice", Topics: []string{"news", "forced"}, MaySubscribe: []string{"news", "chat.*"},
	}, next)}})
	c := dial(t, srv, "/a", v1Header)
	c.want(Text, `{"type":"hello","user":"alice"}`)
	for _, topic := range []string{"chat.1", "chat.2"} {
		c.send(ws.OpText, `{"type":"subscribe","topic":"`+topic+`"}`)
		c.want(Text, `{"type":"subscribe","topic":"`+topic+`"}`)
	}
	if d, err := srv.SubscribeUser(t.Context(), "alice", "by-api"); err != nil || d.Receivers != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	s := only(t, srv, "alice")
	next <- Identity{User: "alice", MaySubscribe: []string{"chat.2", "sport"}, MayPublish: []string{"p"}, Limits: SessionLimits{Topics: 4}, Expires: time.Unix(4e9, 0)}
	c.send(ws.OpText, `{"type":"refresh","token":"good"}`)
	ended := []string{}
	for range 2 {
		ended = append(ended, strings.TrimSuffix(strings.TrimPrefix(c.text(), `{"type":"unsubscribe","topic":"`), `"}`))
	}
	c.want(Text, `{"type":"refresh","expires":4000000000}`)
	slices.Sort(ended)
	if !slices.Equal(ended, []string{"chat.1", "news"}) {
		t.Errorf("the client was told that it lost %q", ended)
	}
	left := s.Topics()
	slices.Sort(left)
	if !slices.Equal(left, []string{"by-api", "chat.2", "forced"}) {
		t.Errorf("it subscribes to %q", left)
	}
	if !s.MaySubscribe("sport") || s.MaySubscribe("chat.1") || !s.MayPublish("p") {
		t.Error("the capabilities are not those of the new identity")
	}
	c.send(ws.OpText, `{"type":"subscribe","topic":"news"}`)
	c.want(Text, `{"type":"error","code":"forbidden","message":"this user may not subscribe to the topic"}`)
	if n := srv.Stats().Refreshes; n != 1 {
		t.Errorf("%d refreshes are counted", n)
	}
	c.send(ws.OpText, `{"type":"refresh","token":"good"}`)
	c.want(Text, `{"type":"error","code":"refresh_failed","message":"one refresh a second: try again later"}`)
}

// wantHello wants the hello of a session that expires in so many seconds, or a few less; 0:
// hello says nothing of it.
func wantHello(t *testing.T, c *client, seconds int) {
	t.Helper()
	got := c.text()
	var left int
	if seconds == 0 {
		if got != `{"type":"hello","user":"alice"}` {
			t.Errorf("got %s", got)
		}
	} else if _, err := fmt.Sscanf(got, `{"type":"hello","user":"alice","expires_in":%d}`, &left); err != nil || left > seconds || left < seconds/2 {
		t.Errorf("got %s, want %d seconds", got, seconds)
	}
}

// TestRefreshFails: a token that proves nothing leaves the session as it was.
func TestRefreshFails(t *testing.T) {
	next := make(chan Identity, 1)
	ep := refreshing(Identity{User: "alice", MaySubscribe: []string{"news"}, Expires: time.Now().Add(time.Hour)}, next)
	without := identified("/without", Identity{User: "alice"}, Hooks{})
	srv := start(t, Config{Endpoints: []Endpoint{ep, without}})
	for _, tt := range []struct {
		name, path, text string
		next             Identity
		code, message    string
	}{
		{"rejected", "/a", `{"type":"refresh","token":"bad"}`, Identity{}, "refresh_failed", "the token has expired"},
		{"fault", "/a", `{"type":"refresh","token":"broken"}`, Identity{}, "refresh_failed", "internal error"},
		{"no token", "/a", `{"type":"refresh"}`, Identity{}, "refresh_failed", "a refresh needs a token"},
		{"another user", "/a", `{"type":"refresh","token":"good"}`, Identity{User: "bob", MaySubscribe: []string{"*"}}, "refresh_failed", "the token is another user's"},
		{"no user", "/a", `{"type":"refresh","token":"good"}`, Identity{}, "refresh_failed", "the token is another user's"},
		{"malformed", "/a", `{"type":"refresh","token":"good"}`, Identity{User: "alice", MaySubscribe: []string{"\n"}}, "refresh_failed", "subscribe: bad name: control character U+000A at byte 0"},
		{"no Refresher", "/without", `{"type":"refresh","token":"good"}`, Identity{}, "no_refresh", "this server takes no tokens of open sessions: connect again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, srv, tt.path, v1Header)
			wantHello(t, c, map[string]int{"/a": 3600}[tt.path])
			select {
			case <-next: // what a case before has not used
			default:
			}
			next <- tt.next
			c.send(ws.OpText, tt.text)
			if got := c.text(); !strings.HasPrefix(got, `{"type":"error","code":"`+tt.code+`","message":"`) || !strings.Contains(got, tt.message[:min(14, len(tt.message))]) {
				t.Errorf("got %s", got)
			}
			if tt.path == "/without" {
				return
			}
			c.send(ws.OpText, `{"type":"subscribe","topic":"news"}`)
			c.want(Text, `{"type":"subscribe","topic":"news"}`)
			for _, s := range userSessions(srv, "alice") {
				if x := s.ext.Load(); s.MaySubscribe("other") || s.endpoint().Path == "/a" && x.expires.Load() == 0 {
					t.Error("the session has changed")
				}
			}
		})
	}
	if n := srv.Stats().Refreshes; n != 0 {
		t.Errorf("%d refreshes are counted", n)
	}
}

// TestRefreshExpiry: a refresh postpones the end of a session, and brings it forward.
func TestRefreshExpiry(t *testing.T) {
	next := make(chan Identity, 1)
	srv := start(t, Config{PingInterval: 24 * time.Hour, Endpoints: []Endpoint{refreshing(Identity{User: "alice", Expires: time.Now().Add(500 * time.Millisecond)}, next)}})
	c := dial(t, srv, "/a", v1Header)
	c.want(Text, `{"type":"hello","user":"alice","expires_in":1}`)
	s := only(t, srv, "alice")
	if s.ext.Load().expires.Load() == 0 {
		t.Fatal("the session does not expire")
	}
	next <- Identity{User: "alice"}
	c.send(ws.OpText, `{"type":"refresh","token":"good"}`)
	c.want(Text, `{"type":"refresh"}`)
	begin := srv.tick.Load()
	await(t, "the former expiry has passed", func() bool { return srv.tick.Load() > begin+8 })
	c.send(ws.OpText, `{"type":"ping"}`)
	if got := c.text(); !strings.Contains(got, "bad_type") {
		t.Errorf("got %s", got)
	}
	await(t, "a second refresh is allowed", func() bool { return srv.tick.Load() > begin+refreshEvery+1 })
	next <- Identity{User: "alice", Expires: time.Now().Add(200 * time.Millisecond)}
	c.send(ws.OpText, `{"type":"refresh","token":"good"}`)
	if got := c.text(); !strings.HasPrefix(got, `{"type":"refresh","expires":`) || !strings.HasSuffix(got, `,"expires_in":1}`) {
		t.Errorf("got %s", got)
	}
	if code := c.finish(); code != frame.StatusUnauthorized {
		t.Errorf("closed with %d, want 3000", code)
	}
}

// TestRefreshUser: a change concerns all sessions of the user, in every dialect, and what it
// does not name stays.
func TestRefreshUser(t *testing.T) {
	id := Identity{User: "alice", Topics: []string{"news", "chat.1"}, MaySubscribe: []string{"news", "chat.*"}, MayPublish: []string{"p"}, Expires: time.Now().Add(time.Hour)}
	srv := start(t, Config{Endpoints: []Endpoint{identified("/a", id, Hooks{})}})
	plain, v1 := dial(t, srv, "/a"), dial(t, srv, "/a", v1Header)
	v1.want(Text, `{"type":"hello","user":"alice"}`)
	change := func(text string) {
		t.Helper()
		c, err := ParseIdentityChange([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := srv.RefreshUser(t.Context(), "alice", c); err != nil || d.Receivers != 2 {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	change(`{"subscribe":["news"],"limits":{"topics":2}}`)
	v1.want(Text, `{"type":"unsubscribe","topic":"chat.1"}`)
	for _, s := range userSessions(srv, "alice") {
		x := s.ext.Load()
		if topics := s.Topics(); !slices.Equal(topics, []string{"news"}) || !s.MayPublish("p") || s.MaySubscribe("chat.1") || x.expires.Load() == 0 || x.maxTopics.Load() != 2 {
			t.Errorf("protocol %q: topics %q, %+v", s.Protocol(), topics, x.expires.Load())
		}
	}
	change(`{"expires":0,"publish":[]}`)
	for _, s := range userSessions(srv, "alice") {
		if x := s.ext.Load(); x.expires.Load() != 0 || s.MayPublish("p") || x.maxTopics.Load() != 2 {
			t.Errorf("protocol %q: expires %d", s.Protocol(), x.expires.Load())
		}
	}
	change(`{"expires":1}`) // long ago
	for _, c := range []*client{plain, v1} {
		if code := c.finish(); code != frame.StatusUnauthorized {
			t.Errorf("closed with %d, want 3000", code)
		}
	}
	if n := srv.Stats().Refreshes; n != 6 {
		t.Errorf("%d refreshes are counted, want 6", n)
	}
	for _, bad := range []IdentityChange{{Publish: &[]string{"a\nb"}}, {Limits: &SessionLimits{Topics: -1}}} {
		if _, err := srv.RefreshUser(t.Context(), "alice", bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	// Another node, or whatever writes to NATS.
	if r := (member{srv}).Serve(&Command{Verb: VerbRefresh, User: "alice", Op: Text, Payload: []byte(`{"revoke":["x"]}`)}); r.Error == "" {
		t.Error("a change with an unknown member was executed")
	}
}
