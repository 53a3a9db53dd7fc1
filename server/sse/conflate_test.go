package sse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// A slow client of a stream gets the newest message of a name, whole.
func TestConflate(t *testing.T) {
	srv := start(t)
	c := open(t, srv, "/sse?user=alice&topic=t")
	filler := strings.Repeat("x", 32<<10)
	for m := server.NewMessage(server.Text, []byte(filler)); srv.Stats().Dropped["full"] < 5; {
		srv.Publish(t.Context(), "t", m)
	}
	const rounds = 20
	for i := range rounds {
		m, err := server.NewMessageWith(server.Text, fmt.Appendf(nil, "price %d", i), server.MessageOptions{Conflate: "price"})
		if err != nil {
			t.Fatal(err)
		}
		srv.Publish(t.Context(), "t", m)
	}
	if n := srv.Stats().Conflated; n != rounds-1 {
		t.Errorf("%d messages replaced, want %d", n, rounds-1)
	}
	push(t, srv, "alice", "end")
	for _, want := range []string{"price 19", "end"} {
		e := c.event()
		for e.data == filler {
			e = c.event()
		}
		if e.data != want {
			t.Errorf("got %.40q, want %q", e.data, want)
		}
	}
}

// A stream receives the first message of a name at once, and the newest when its time has come.
func TestInterval(t *testing.T) {
	srv := start(t)
	c := open(t, srv, "/sse?user=alice&topic=t")
	for _, text := range []string{"a=1", "b=1", "b=2", "a=2", "a=3"} {
		m, err := server.NewMessageWith(server.Text, []byte(text), server.MessageOptions{Conflate: text[:1], Interval: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if d, err := srv.Publish(t.Context(), "t", m); err != nil || d.Receivers != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	got := ""
	for range 4 {
		got += " " + c.event().data
	}
	// A machine that is suspended for 300 ms in between sends more.
	if got != " a=1 b=1 b=2 a=3" && srv.Stats().Conflated == 1 {
		t.Errorf("got%s", got)
	}
}
