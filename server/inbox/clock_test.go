package inbox

import (
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// TestClock: when a message expires, and where a new stream begins, follow the clock of
// the store.
func TestClock(t *testing.T) {
	at := time.Date(2040, 5, 6, 7, 8, 9, 0, time.UTC)
	for name, cfg := range map[string]Config{
		"embedded": {Dir: t.TempDir()},
		"outside":  {URL: outside(t, natsserver.Options{})},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Logger = quiet
			s, err := openWithClock(ctx, cfg, func() time.Time { return at })
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			box := user("u")
			r, err := add(s, box, store.Entry{Payload: []byte("x"), TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if first := subject.FirstOffset(at, 0); cfg.URL != "" && r.Offset != first {
				t.Errorf("first offset %d, want %d", r.Offset, first)
			}
			p, err := s.Read(ctx, box, 0, 1)
			if err != nil || len(p.Messages) != 1 {
				t.Fatal(p, err)
			}
			if got, want := p.Messages[0].Expires, at.Add(time.Hour); !got.Equal(want) {
				t.Errorf("expires %v, want %v", got, want)
			}
		})
	}
}

// TestClockOfNATS: the clock of an outside NATS differs from this machine's by more than is
// assumed when it is not known. What was stored before a time is found all the same.
func TestClockOfNATS(t *testing.T) {
	for _, slow := range []time.Duration{time.Hour, -time.Hour} {
		now := func() time.Time { return time.Now().Add(-slow) }
		s, err := openWithClock(ctx, Config{URL: outside(t, natsserver.Options{}), Logger: quiet}, now)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		at := put(t, s, user("u"), "1")[0]
		// 50 minutes leave room for a slow machine.
		for _, test := range []struct {
			t    time.Time
			want uint64
		}{{now().Add(50 * time.Minute), at}, {now().Add(-50 * time.Minute), 0}} {
			if got, err := s.Before(ctx, user("u"), test.t); got != test.want || err != nil {
				t.Errorf("a clock that is slow by %v: %d, %v, want %d", slow, got, err, test.want)
			}
		}
	}
}

// TestStoreClock: of the difference between two clocks the least possible one counts.
func TestStoreClock(t *testing.T) {
	at := time.Date(2040, 5, 6, 7, 8, 9, 0, time.UTC)
	var c storeClock
	if got := c.earliest(at); got != at.Add(-unknownClock) {
		t.Errorf("not known: %v", got)
	}
	c.note(time.Time{}, at)
	if got := c.earliest(at); got != at.Add(-unknownClock) {
		t.Errorf("an answer without a time: %v", got)
	}
	c.note(at.Add(time.Minute), at)
	if got := c.earliest(at); got != at.Add(time.Minute-clockSlack) {
		t.Errorf("ahead: %v", got)
	}
	c.note(at.Add(-time.Second), at) // or the answer took a second
	if got := c.earliest(at); got != at.Add(-time.Second-clockSlack) {
		t.Errorf("a slow clock, or a slow answer: %v", got)
	}
}
