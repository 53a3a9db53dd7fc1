package client

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestResume: connections break, the server restarts, and loses its store.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{}, func(s *fakeServer) { s.c.Subscribe("news", s.handler("news")) })
		s.last().named("a=1", "topic=news")
		c := s.say(hello(4, "E1"), `{"type":"subscribe","topic":"news","offset":8,"epoch":"E1"}`,
			stored(5, "E1", "five"), `{"type":"message","topic":"news","offset":9,"epoch":"E1","text":"nine"}`,
			`{"type":"message","text":"live"}`, `{"type":"message","offset":6,"epoch":"E1","base64":"w6k=","utf8":true}`)
		s.expect("inbox five", "news nine", "inbox live", "inbox é")
		for _, o := range c.out {
			if strings.Contains(o, `"offset":4`) {
				t.Errorf("acknowledged what it has not received: %s", o)
			}
		}

		// Duplicates are dropped, and the acknowledgements, which may be lost, repeated.
		s.drop()
		s.last().named("a=1", "epoch.news=E1", "epoch=E1", "offset.news=9", "offset=6", "topic=news")
		c = s.say(hello(6, "E1"), `{"type":"subscribe","topic":"news","offset":9,"epoch":"E1"}`, stored(6, "E1", "again"))
		c.sent(ack("", 6, "E1"), ack("news", 9, "E1"))
		s.say(stored(10, "E1", "ten"))
		s.expect("inbox ten")
		c.sent(ack("", 10, "E1"))

		// A restart renames the epoch.
		s.drop()
		c = s.say(hello(10, "E2"))
		c.sent(ack("", 10, "E2"))
		s.say(stored(11, "E2", "eleven"))
		s.expect("inbox eleven")
		c.sent(ack("", 11, "E2"))

		// The store is lost.
		s.drop()
		c = s.say(`{"type":"hello","user":"bob","offset":0,"epoch":"E3","gap":true}`, stored(1, "E3", "one"))
		s.expect("gap", "inbox one")
		c.sent(ack("", 1, "E3"))
		s.say(`{"type":"message","offset":1,"epoch":"E4","gap":true,"text":"one of E4"}`)
		s.expect("gap", "inbox one of E4")
		c.sent(ack("", 1, "E4"))

		// No store, or one that is not available yet.
		s.drop()
		s.last().named("a=1", "epoch.news=E1", "epoch=E4", "offset.news=9", "offset=1", "topic=news")
		c = s.say(`{"type":"hello","user":"bob"}`)
		c.sent()
		s.say(hello(1, "E4"), stored(2, "E4", "two"))
		s.expect("inbox two")
		s.end()
		if !errors.Is(s.result, context.Canceled) {
			t.Errorf("Run returned %v", s.result)
		}
	})
}

// TestHandlerFails: the message is handled again, and what follows waits.
func TestHandlerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		var s *fakeServer
		s = run(t, Config{Inbox: func(_ context.Context, m *Message) error {
			if m.Text() == "poison" {
				m.Ack()
				return errors.New("never")
			}
			if m.Text() == "two" && broken.Load() {
				return errors.New("no")
			}
			s.log("%s", m.Text())
			return nil
		}}, nil)
		c := s.say(hello(0, "E1"), stored(1, "E1", "one"))
		s.say(stored(2, "E1", "two"), stored(3, "E1", "three"))
		c.sent(ack("", 1, "E1"))
		s.expect("one", "handler failed for offset 2 of the inbox: no")
		time.Sleep(time.Second)
		synctest.Wait()
		broken.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		c.sent(ack("", 2, "E1"), ack("", 3, "E1"))
		s.mu.Lock()
		s.lines = nil
		s.mu.Unlock()
		s.say(stored(4, "E1", "poison"), stored(5, "E1", "five"))
		s.expect("handler failed for offset 4 of the inbox: never", "five")
		c.sent(ack("", 4, "E1"), ack("", 5, "E1"))
		s.end()
	})
}

// TestAckElsewhere: a handler ends in another session, or another history.
func TestAckElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := run(t, Config{Inbox: func(context.Context, *Message) error { <-release; return nil }}, nil)
		s.say(hello(0, "E1"), stored(1, "E1", "one"))
		s.drop()
		s.last().named("a=1", "epoch=E1", "offset=1")
		release <- struct{}{}
		c := s.last()
		c.sent()
		s.say(hello(1, "E2"))
		c.sent(ack("", 1, "E2"))
		s.say(stored(2, "E2", "two"), `{"type":"hello","user":"bob","offset":0,"epoch":"E3","gap":true}`)
		release <- struct{}{}
		s.expect("gap")
		c.sent()
		s.end()
	})
}

// failingStore fails until ok.
type failingStore struct {
	MemoryStore
	ok atomic.Bool
}

func (s *failingStore) Save(ctx context.Context, key string, p Position) error {
	if !s.ok.Load() {
		return errors.New("full")
	}
	return s.MemoryStore.Save(ctx, key, p)
}

// TestStore: a position is stored before it is acknowledged, and loaded.
func TestStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failingStore{MemoryStore: *NewMemoryStore()}
		store.positions[`fanfare ["bob",null]`] = Position{6, "E1"}
		s := run(t, Config{Store: store, User: "bob"}, nil)
		s.last().named("a=1", "epoch=E1", "offset=6")
		c := s.say(hello(6, "E1"), stored(7, "E1", "seven"))
		s.expect("inbox seven", `position fanfare ["bob",null]: full`)
		c.sent()
		store.ok.Store(true)
		time.Sleep(time.Minute)
		c.sent(ack("", 7, "E1"))
		if p := store.positions[`fanfare ["bob",null]`]; p.Offset != 7 {
			t.Errorf("stored %v", p)
		}
		s.end()
	})
}

// TestManualAck: nothing is acknowledged before Message.Ack.
func TestManualAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []*Message
		s := run(t, Config{ManualAck: true, Inbox: func(_ context.Context, m *Message) error { got = append(got, m); return nil }}, nil)
		c := s.say(hello(0, "E1"), stored(1, "E1", "one"), stored(2, "E1", "two"), stored(3, "E1", "three"))
		c.sent()
		got[1].Ack()
		got[0].Ack() // covered
		c.sent(ack("", 2, "E1"))
		s.end()
	})
}

// TestPending: a server that is faster than the handlers is disconnected.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := run(t, Config{MaxPending: 10, Inbox: func(context.Context, *Message) error { <-release; return nil }}, nil)
		s.say(hello(0, "E1"), stored(1, "E1", "123456"), stored(2, "E1", "7890123"))
		s.expect(strings.TrimPrefix(ErrPending.Error(), "client: "))
		time.Sleep(time.Hour)
		if s.count() != 1 {
			t.Error("connected while messages wait")
		}
		release <- struct{}{}
		release <- struct{}{}
		if s.count() != 2 {
			t.Fatal("did not connect again")
		}
		s.last().named("a=1", "epoch=E1", "offset=2")
		s.say(hello(2, "E1")).sent(ack("", 2, "E1"))
		s.end()
	})
}
