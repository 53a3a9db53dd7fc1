package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/server/identity"
)

// identified is an endpoint whose sessions all have one identity.
func identified(path string, id Identity, hooks Hooks) Endpoint {
	return Endpoint{Path: path, NonBlocking: true, Dialects: []Dialect{Plain(), V1()}, Hooks: hooks,
		Identifier: func(context.Context, *Request) (Identity, error) { return id, nil }}
}

// TestCapabilities is a matrix: a pattern that allows one action allows it for the names
// that it covers, and no other action for any name, in every dialect that has it.
func TestCapabilities(t *testing.T) {
	names := []string{"news", "news2", "news.de", "new", "News", "*", "news*", "a\u00e9"}
	covered := map[string]string{ // pattern → names
		"news":    "news",
		"news*":   "news news2 news.de news*",
		"news.*":  "news.de",
		"*":       "news news2 news.de new News * news* a\u00e9",
		"a\u00c3": "",
		"*news":   "",
	}
	actions := []string{"subscribe", "publish", "presence"}
	opened := make(chan *Session, 1)
	hooks := Hooks{OnOpen: func(s *Session) { opened <- s }}
	type cell struct{ path, pattern, allowed, action string }
	var cells []cell
	var endpoints []Endpoint
	for pattern, allowed := range covered {
		for _, action := range actions {
			id := Identity{User: fmt.Sprint("u", len(cells))}
			list := []string{"other", pattern}
			switch action {
			case "subscribe":
				id.MaySubscribe = list
			case "publish":
				id.MayPublish = list
			case "presence":
				id.MayReadPresence = list
			}
			c := cell{fmt.Sprint("/", len(cells)), pattern, allowed, action}
			cells, endpoints = append(cells, c), append(endpoints, identified(c.path, id, hooks))
		}
	}
	srv := start(t, Config{Endpoints: endpoints})
	for _, c := range cells {
		dial(t, srv, c.path, "Sec-WebSocket-Protocol: fanfare.v1")
		s := receive(t, "session", opened)
		for _, name := range append(names, "other") {
			for _, other := range actions {
				may := map[string]func(string) bool{"subscribe": s.MaySubscribe, "publish": s.MayPublish, "presence": s.MayReadPresence}[other]
				want := other == c.action && (name == "other" || strings.Contains(" "+c.allowed+" ", " "+name+" "))
				if may(name) != want {
					t.Errorf("%s of %q, allowed to %s %q: %t", other, name, c.action, c.pattern, !want)
				}
			}
		}
	}
}

// TestCapabilitiesShared: sessions with equal capabilities share them, and one without has
// no extension.
func TestCapabilitiesShared(t *testing.T) {
	opened := make(chan *Session, 1)
	hooks := Hooks{OnOpen: func(s *Session) { opened <- s }}
	long := func() Identity {
		return Identity{User: "alice", MaySubscribe: []string{strings.Repeat("a", 50), "b"}, MayPublish: []string{"c*"}}
	}
	ep := identified("/may", Identity{}, hooks)
	ep.Identifier = func(context.Context, *Request) (Identity, error) { return long(), nil }
	srv := start(t, Config{Endpoints: []Endpoint{ep, identified("/plain", Identity{User: "bob", MaySubscribe: anyTopic}, hooks)}})
	var all []*Session
	for range 2 {
		dial(t, srv, "/may")
		all = append(all, receive(t, "session", opened))
	}
	if all[0].ext.Load().may != all[1].ext.Load().may {
		t.Error("equal capabilities are not shared")
	}
	if !all[0].MayPublish("c1") || all[0].MayReadPresence("c1") {
		t.Error("a plain session has lost what it may do")
	}
	dial(t, srv, "/plain")
	if s := receive(t, "session", opened); s.ext.Load() != nil {
		t.Error("a session that can do nothing with its capabilities keeps them")
	}
}

// TestSessionLimits: limits of an identity hold below those of the server, not above.
func TestSessionLimits(t *testing.T) {
	hooks := EchoEndpoint("/").Hooks
	low := Identity{User: "low", Topics: []string{"a", "b"}, MaySubscribe: anyTopic, Limits: SessionLimits{Messages: 1, Topics: 3}}
	high := low
	high.User, high.Limits = "high", SessionLimits{Messages: 1e6, Topics: 1e6}
	free := identified("/free", low, hooks)
	free.Rate.Unlimited = true
	limited := identified("/high", high, hooks)
	limited.Rate.Messages = 1
	srv := start(t, Config{TopicsPerSession: 4, Endpoints: []Endpoint{identified("/low", low, hooks), free, limited}})
	for path, most := range map[string]int{"/low": 3, "/free": 3, "/high": 4} {
		c := dial(t, srv, path, "Sec-WebSocket-Protocol: fanfare.v1")
		c.want(Text, fmt.Sprintf(`{"type":"hello","user":%q}`, map[bool]string{true: "high", false: "low"}[path == "/high"]))
		for i := range 4 {
			topic := fmt.Sprint("t", i)
			c.send(ws.OpText, fmt.Sprintf(`{"type":"subscribe","topic":%q}`, topic))
			if i+3 <= most {
				c.want(Text, fmt.Sprintf(`{"type":"subscribe","topic":%q}`, topic))
			} else {
				c.want(Text, `{"type":"error","code":"too_many_topics","message":"the session has as many subscriptions as it may"}`)
			}
		}
		for range 50 { // far more than the burst of ten
			c.Conn.Write(masked(ws.OpText, true, []byte("b")))
		}
		if code := c.finish(); code != frame.StatusPolicyViolation {
			t.Errorf("%s: closed with %d, want 1008", path, code)
		}
	}
	if d, err := srv.SubscribeUser(t.Context(), "nobody", "x"); err != nil || d.Receivers != 0 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestIdentityRejected: an identity whose capabilities are malformed opens no session.
func TestIdentityRejected(t *testing.T) {
	for name, tt := range map[string]struct {
		id     Identity
		status int
	}{
		"a line feed":          {Identity{User: "a", MayPublish: []string{"x\n*"}}, 400},
		"an empty name":        {Identity{User: "a", MaySubscribe: []string{""}}, 400},
		"too many names":       {Identity{User: "a", MayReadPresence: make([]string, identity.MaxNames+1)}, 400},
		"more topics than may": {Identity{User: "a", Topics: []string{"x", "y"}, Limits: SessionLimits{Topics: 1}}, 400},
		"a negative limit":     {Identity{User: "a", Limits: SessionLimits{Messages: -1}}, 500},
	} {
		srv := start(t, Config{Endpoints: []Endpoint{identified("/a", tt.id, Hooks{})}})
		c := connect(t, srv)
		c.say(handshakeFor("/a"))
		if resp := c.answer(); resp.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", name, resp.StatusCode, tt.status)
		}
	}
}
