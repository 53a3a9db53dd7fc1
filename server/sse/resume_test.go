package sse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"

	"fanfare/server"
	"fanfare/server/sse"
	"fanfare/server/store"
)

// idOnly reads until the stream has told a position, and returns it.
func (c *client) idOnly() string {
	c.t.Helper()
	for c.lastID == "" {
		line, err := c.line()
		if err != nil {
			c.t.Fatal(err)
		}
		if len(line) > 4 && line[:4] == "id: " {
			c.lastID = line[4:]
			c.buffer = c.lastID
		}
	}
	return c.lastID
}

// One id resumes the inbox and the durable topics, in each of which the client gets what
// follows and nothing else, whatever the order of the messages was.
func TestResume(t *testing.T) {
	srv := start(t, stored(t))
	const target = "/sse?user=bob&topic=d.x&topic=d.y&topic=live"
	c := open(t, srv, target)
	begin := c.idOnly()
	pushDurable(t, srv, "bob", "i1")
	publishDurable(t, srv, "d.x", "x1")
	publishDurable(t, srv, "d.y", "y1")
	var ids []string
	for _, want := range []string{"i1", "x1", "y1"} {
		ids = append(ids, c.want(want).id)
	}
	push(t, srv, "bob", "live")
	if e := c.want("live"); e.id != ids[2] {
		t.Errorf("a live message has the id %q, want the last one %q", e.id, ids[2])
	}
	c.Close()
	await(t, "the session ends", func() bool { return srv.Count() == 0 })
	pushDurable(t, srv, "bob", "i2")
	publishDurable(t, srv, "d.x", "x2")
	for _, test := range []struct {
		name, id string
		want     []string
	}{
		{"from the beginning", begin, []string{"i1", "i2", "x1", "x2", "y1"}},
		{"after the first", ids[0], []string{"i2", "x1", "x2", "y1"}},
		{"after the second", ids[1], []string{"i2", "x2", "y1"}},
		{"after all", ids[2], []string{"i2", "x2"}},
	} {
		for _, way := range []string{"header", "query"} {
			c := (*client)(nil)
			if way == "header" {
				c = open(t, srv, target, "Last-Event-ID: "+test.id)
			} else {
				c = open(t, srv, target+"&lastEventId="+test.id)
			}
			var got []string
			for range test.want {
				e := c.event()
				if e.name != "message" {
					t.Errorf("%s: %+v", test.name, e)
				}
				got = append(got, e.data)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("%s, %s: %v, want %v", test.name, way, got, test.want)
			}
			push(t, srv, "bob", "end")
			c.want("end") // nothing more is stored
			c.Close()
			await(t, "the session ends", func() bool { return srv.Count() == 0 })
		}
	}
}

// What a client resumes from is acknowledged; without that, as with curl, everything unread
// comes again each time.
func TestAcknowledge(t *testing.T) {
	srv := start(t, stored(t))
	for _, text := range []string{"one", "two", "three"} {
		pushDurable(t, srv, "bob", text)
	}
	leave := func(c *client) {
		c.Close()
		await(t, "the session ends", func() bool { return srv.Count() == 0 })
	}
	c := open(t, srv, "/sse?user=bob")
	id := c.want("one").id
	c.want("two", "three")
	leave(c)
	c = open(t, srv, "/sse?user=bob")
	c.want("one", "two", "three")
	leave(c)

	c = open(t, srv, "/sse?user=bob", "Last-Event-ID: "+id)
	id = c.want("two").id
	c.want("three")
	leave(c)
	c = open(t, srv, "/sse?user=bob")
	c.want("two", "three")
	leave(c)

	post := func(query, id string, want int) {
		t.Helper()
		c := request(t, srv.Addr(), "POST /sse?"+query+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nLast-Event-ID: "+id+"\r\n\r\n")
		defer c.Close()
		if body, _ := io.ReadAll(c.head.Body); c.head.StatusCode != want {
			t.Errorf("POST %s: %s %s, want %d", query, c.head.Status, body, want)
		}
	}
	post("user=bob", id, http.StatusNoContent)
	at, _, err := srv.Config().Store.Acked(t.Context(), store.Box{User: "bob"}, "bob")
	if err != nil || at == 0 {
		t.Errorf("acknowledged %d, %v", at, err)
	}
	c = open(t, srv, "/sse?user=bob")
	c.want("three")
	leave(c)
	post("user=bob", "AQEBZQAB", http.StatusConflict) // of no epoch of this server
	post("user=bob", "", http.StatusBadRequest)
}

// A topic is acknowledged by POST like the inbox, and its limit holds.
func TestAcknowledgeTopic(t *testing.T) {
	srv := start(t, stored(t), func(cfg *server.Config) { cfg.PositionsPerUser = 1 })
	var ids []string
	for _, topic := range []string{"d.a", "d.b"} {
		c := open(t, srv, "/sse?user=carol&topic="+topic)
		c.idOnly()
		publishDurable(t, srv, topic, "m1")
		ids = append(ids, c.want("m1").id)
		c.Close()
		await(t, "the session ends", func() bool { return srv.Count() == 0 })
	}
	for i, want := range []int{http.StatusNoContent, http.StatusConflict} {
		topic := []string{"d.a", "d.b"}[i]
		c := request(t, srv.Addr(), "POST /sse?user=carol&topic="+topic+"&lastEventId="+ids[i]+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		if body, _ := io.ReadAll(c.head.Body); c.head.StatusCode != want {
			t.Errorf("%s: %s %s, want %d", topic, c.head.Status, body, want)
		}
		c.Close()
	}
}

// The position of an application, and errors that it can test.
func TestServerAcknowledge(t *testing.T) {
	srv := start(t, stored(t))
	st, err := srv.PushStored(t.Context(), "bob", server.Entry{Op: server.Text, Payload: []byte("one")})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		p    server.Position
		want error
	}{
		{server.Position{Epoch: "other", Offset: 1}, server.ErrNotSent},
		{server.Position{Topic: "live", Epoch: st.Epoch, Offset: 1}, server.ErrNotDurable},
		{server.Position{Epoch: st.Epoch, Offset: st.Offset + 1000}, server.ErrNotSent},
		{server.Position{Epoch: st.Epoch, Offset: st.Offset}, nil},
	} {
		err := srv.Acknowledge(t.Context(), "bob", test.p)
		if !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.p, err, test.want)
		}
	}
	if at, _, err := srv.Config().Store.Acked(t.Context(), store.Box{User: "bob"}, "bob"); at != st.Offset || err != nil {
		t.Errorf("acknowledged %d, %v, want %d", at, err, st.Offset)
	}
}

// A client that resumes in a history that the server does not have is told of the gap.
func TestGap(t *testing.T) {
	srv := start(t, stored(t))
	pushDurable(t, srv, "bob", "one")
	c := open(t, srv, "/sse?user=bob", "Last-Event-ID: AQEBZQAB")
	if e := c.event(); e.name != "gap" || e.data != "{}" {
		t.Errorf("%+v", e)
	}
	c.want("one")

	srv = start(t) // stores nothing
	c = open(t, srv, "/sse?user=bob", "Last-Event-ID: AQEBZQAB")
	if e := c.event(); e.name != "gap" || e.data != "{}" {
		t.Errorf("%+v", e)
	}
}

// TestUserChanges: a page whose user changes, while its EventSource reconnects, gets what
// its new user has not received, after a gap. The old user's id acknowledges nothing.
func TestUserChanges(t *testing.T) {
	srv := start(t, stored(t))
	pushDurable(t, srv, "bob", "for bob")
	pushDurable(t, srv, "carol", "for carol")
	pushDurable(t, srv, "bob", "for bob, too")
	c := open(t, srv, "/sse?user=bob")
	c.want("for bob")
	id := c.want("for bob, too").id
	p := request(t, srv.Addr(), "POST /sse?user=carol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nLast-Event-ID: "+id+"\r\n\r\n")
	defer p.Close()
	if p.head.StatusCode != http.StatusConflict {
		t.Errorf("POST: %s", p.head.Status)
	}
	for range 2 { // the first acknowledges nothing
		c := open(t, srv, "/sse?user=carol", "Last-Event-ID: "+id)
		if e := c.event(); e.name != "gap" {
			t.Errorf("%+v precedes the messages", e)
		}
		c.want("for carol")
		c.Close()
	}
}

// With a token the topics are those of the token, and so are the positions of a POST.
func TestIdentity(t *testing.T) {
	srv := start(t, stored(t), func(cfg *server.Config) {
		ep := sse.PushEndpoint("/events")
		ep.Insecure, ep.Identifier = false, func(_ context.Context, r *server.Request) (server.Identity, error) {
			if r.Header("Authorization") != "Bearer secret" && r.Query("token") != "secret" {
				return server.Identity{}, server.Reject(http.StatusUnauthorized, "no token")
			}
			return server.Identity{User: "dora", Topics: []string{"d.dora"}}, nil
		}
		ep.NonBlocking = false
		cfg.Endpoints = append(cfg.Endpoints, ep)
	})
	if c := get(t, srv, "/events"); c.head.StatusCode != http.StatusUnauthorized {
		t.Error(c.head.Status)
	}
	c := open(t, srv, "/events?token=secret")
	publishDurable(t, srv, "d.dora", "hi")
	id := c.want("hi").id
	for header, want := range map[string]int{"Authorization: Bearer secret": 204, "Authorization: Bearer wrong": 401} {
		c := request(t, srv.Addr(), "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"+header+"\r\nLast-Event-ID: "+id+"\r\n\r\n")
		if c.head.StatusCode != want {
			t.Errorf("%s: %s", header, c.head.Status)
		}
		c.Close()
	}
	at, known, err := srv.Config().Store.Acked(t.Context(), store.Box{Topic: "d.dora"}, "dora")
	if err != nil || !known || at == 0 {
		t.Errorf("acknowledged %d, %v, %v", at, known, err)
	}
}

// A client with a hundred durable topics resumes all of them: the id fits a request.
func TestManyTopics(t *testing.T) {
	srv := start(t, stored(t))
	target := "/sse?user=erin"
	for i := range 100 {
		target += fmt.Sprintf("&topic=d.%d", i)
	}
	c := open(t, srv, target)
	c.idOnly()
	for i := range 100 {
		publishDurable(t, srv, fmt.Sprintf("d.%d", i), "first")
	}
	var id string
	for range 100 {
		id = c.want("first").id
	}
	c.Close()
	await(t, "the session ends", func() bool { return srv.Count() == 0 })
	publishDurable(t, srv, "d.50", "second")
	c = open(t, srv, target, "Last-Event-ID: "+id)
	c.want("second")
}

// A client that resumes in a topic that is not durable any more is told of the gap, and gets what
// it has missed elsewhere.
func TestNotDurableAnyMore(t *testing.T) {
	before := start(t, stored(t))
	const target = "/sse?user=bob&topic=d.x"
	c := open(t, before, target)
	c.idOnly()
	publishDurable(t, before, "d.x", "x1")
	id := c.want("x1").id
	for name, set := range map[string][]func(*server.Config){
		"not durable": {stored(t), func(cfg *server.Config) { cfg.DurableTopics = nil }},
		"no store":    nil,
	} {
		srv := start(t, set...)
		c = open(t, srv, target, "Last-Event-ID: "+id)
		topics := make(map[string]int)
		for range 2 { // the inbox, which is that of another server, and the topic
			e := c.event()
			if e.name != "gap" {
				t.Errorf("%s: %+v", name, e)
			}
			topics[e.data]++
		}
		if topics["{}"] != 1 || topics[`{"topic":"d.x"}`] != 1 {
			t.Errorf("%s: gaps of %v", name, topics)
		}
	}
}
