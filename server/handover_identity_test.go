package server

import (
	"context"
	"testing"
	"time"
)

// TestHandOverIdentity: what an identity permits, its limits and its end move with a session.
func TestHandOverIdentity(t *testing.T) {
	linuxOnly(t)
	ep := PushEndpoint("/ws")
	ep.Insecure = false
	ep.Identifier = func(context.Context, *Request) (Identity, error) {
		return Identity{User: "alice", MaySubscribe: []string{"news", "sports.*"}, MayPublish: []string{"chat"},
			MayReadPresence: []string{"*"}, Limits: SessionLimits{Messages: 7, Topics: 3}, Expires: time.Now().Add(time.Hour), Labels: map[string]string{"platform": "ios"}}, nil
	}
	cfg := Config{Endpoints: []Endpoint{ep}}
	from := start(t, cfg)
	dial(t, from, "/ws", "Sec-WebSocket-Protocol: fanfare.v1").next()
	session := func(srv *Server) *Session { return srv.users.AppendUser(nil, "alice")[0] }
	old := session(from)
	expires := old.ext.Load().expires.Load()

	s := session(successor(t, from, cfg))
	if s.Labels()["platform"] != "ios" {
		t.Errorf("labels are %v", s.Labels())
	}
	x := s.ext.Load()
	if x == nil || s == old {
		t.Fatal("the session has not moved with its extension")
	}
	for topic, want := range map[string][3]bool{
		"news": {true, false, true}, "sports.tennis": {true, false, true}, "chat": {false, true, true},
	} {
		if got := [3]bool{s.MaySubscribe(topic), s.MayPublish(topic), s.MayReadPresence(topic)}; got != want {
			t.Errorf("%s: subscribe, publish, presence %v, want %v", topic, got, want)
		}
	}
	if m, n, e := x.maxMessages.Load(), x.maxTopics.Load(), x.expires.Load(); m != 7 || n != 3 || e != expires || e == 0 {
		t.Errorf("%d messages a second, %d topics, expires at tick %d: want 7, 3, %d", m, n, e, expires)
	}
}
