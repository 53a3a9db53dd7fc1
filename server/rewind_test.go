package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"fanfare/server/store"
)

// TestRewindParameter: what has no effect is rejected, in every dialect.
func TestRewindParameter(t *testing.T) {
	cfg := withTopics(t)
	cfg.Endpoints = []Endpoint{PushEndpoint("/ws"), {Path: "/allowing", Identifier: deviceUser, NonBlocking: true, AllowQuery: []string{"rewind.*"}}}
	srv := start(t, cfg)
	const accepted = ""
	for _, tt := range []struct{ target, protocol, want string }{
		{"/ws?user=a&topic=news.a&rewind.news.a=1", "", accepted},
		{"/ws?user=a&topic=news.a&rewind.news.a=1000", speaksV1, accepted},
		{"/ws?user=a&topic=news.a&rewind%2Enews.a=%31", "", accepted},
		{"/ws?user=a&topic=news.a&rewind.news.a=1&offset.news.a=1&epoch.news.a=e", speaksV1, accepted},
		{"/allowing?device=a&rewind.x=1", "", accepted},
		{"/ws?user=a&topic=news.a&rewind.news.a=0", "", `query parameter "rewind.news.a" is "0": want a number of messages from 1 to 1000`},
		{"/ws?user=a&topic=news.a&rewind.news.a=1001", "", `want a number of messages from 1 to 1000`},
		{"/ws?user=a&topic=news.a&rewind.news.a=", "", `want a number of messages from 1 to 1000`},
		{"/ws?user=a&topic=news.a&rewind.news.a=1&rewind.news.a=2", "", `query parameter "rewind.news.a" is repeated`},
		{"/ws?user=a&topic=news.a&rewind.news.a=%zz", "", `malformed percent-encoding`},
		{"/ws?user=a&topic=news.a&rewind.news.b=1", "", `query parameter "rewind.news.b" has no effect: the session does not subscribe to this topic when it opens`},
		{"/ws?user=a&topic=live&rewind.live=1", speaksV1, `query parameter "rewind.live" has no effect: the topic is not durable`},
		{"/ws?user=a&topic=news.a&rewind=1", "", `query parameter "rewind" has no effect`},
		{"/allowing?device=a&room=x&rewind.x=1", "", `the topic is not durable`},
	} {
		c := connect(t, srv)
		var lines []string
		if tt.protocol != "" {
			lines = append(lines, tt.protocol)
		}
		c.say(handshakeFor(tt.target, lines...))
		wantAnswer(t, tt.target, c.answer(), tt.want)
		c.Close()
	}
}

// TestRewindSessions: sessions of every kind get the last messages first, from an embedded store.
func TestRewindSessions(t *testing.T) {
	srv := start(t, withTopics(t))
	for i := range 5 {
		publishDurable(t, srv, "news.a", fmt.Sprint(i))
	}
	c := dial(t, srv, "/ws?user=alice&topic=news.a&rewind.news.a=2")
	if got := c.messages(2, false); strings.Join(got, " ") != "3 4" {
		t.Errorf("got %q", got)
	}
	publishDurable(t, srv, "news.a", "5")
	if got := c.messages(1, false); got[0] != "5" {
		t.Errorf("got %q", got)
	}
	c.Close()
	await(t, "alice is gone", func() bool { return srv.Count() == 0 })

	v1 := dial(t, srv, "/ws?user=bob&topic=news.a&rewind.news.a=1", speaksV1)
	if got := v1.hear(); got.Type != "hello" {
		t.Fatalf("got %+v", got)
	}
	if got := v1.hear(); got.Type != "subscribe" || got.Offset != 5 || got.Gap {
		t.Errorf("got %+v", got)
	}
	if got := v1.hear(); got.Text != "5" {
		t.Errorf("got %+v", got)
	}
	for _, tt := range []struct{ command, want string }{
		{`{"type":"unsubscribe","topic":"news.a"}`, `unsubscribe`},
		{`{"type":"subscribe","topic":"news.a","rewind":2}`, `subscribe 4 5`},
		{`{"type":"subscribe","topic":"live","rewind":2}`, `bad_rewind`},
		{`{"type":"subscribe","topic":"news.a","rewind":0}`, `bad_rewind`},
	} {
		v1.send(Text, tt.command)
		got := v1.hear()
		says := got.Type
		if got.Code != "" {
			says = got.Code
		}
		for range strings.Count(tt.want, " ") {
			says += " " + v1.hear().Text
		}
		if says != tt.want {
			t.Errorf("%s: got %s, want %s", tt.command, says, tt.want)
		}
	}
	s := srv.users.AppendUser(nil, "bob")[0]
	for n, want := range map[int]bool{0: false, MaxRewind + 1: false} {
		if err := s.SubscribeRewind("news.b", n); (err == nil) != want {
			t.Errorf("rewind %d: %v", n, err)
		}
	}
	if err := s.SubscribeRewind("live", 1); !errors.Is(err, ErrNotDurable) {
		t.Errorf("a topic that is not durable: %v", err)
	}
	publishDurable(t, srv, "news.b", "x")
	if err := s.SubscribeRewind("news.b", 1); err != nil {
		t.Error(err)
	}
	if v1.hear(); v1.hear().Text != "x" {
		t.Error("the last message of news.b does not come")
	}
}

// TestRewindGuarded: a store that panics is not available.
func TestRewindGuarded(t *testing.T) {
	cfg := withTopics(t)
	cfg.Store = panicsAtRewind{cfg.Store}
	srv := start(t, cfg)
	if _, err := store.Rewind(t.Context(), srv.store, store.Box{Topic: "news.a"}, 1); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// panicsAtRewind is a Store without Rewind whose Last panics.
type panicsAtRewind struct{ store.Store }

func (panicsAtRewind) Last(context.Context, store.Box) (uint64, error) { panic("no end") }
