package inbox

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

func TestGap(t *testing.T) {
	s := open(t, Config{Messages: 3})
	box := user("u")
	at := put(t, s, box, "0", "1", "2", "3", "4", "5")
	for _, test := range []struct {
		after uint64
		gap   bool
	}{
		{0, true}, {at[0], true}, {at[1], true}, {at[2], false}, {at[4], false}, {at[5], false},
	} {
		if _, gap := read(t, s, box, test.after); gap != test.gap {
			t.Errorf("after %d: gap %v", test.after, gap)
		}
	}
	// The link outlives the messages.
	if n, err := s.Purge(ctx, box); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.Purge(ctx, box); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	put(t, s, box, "6")
	if got, gap := read(t, s, box, at[4]); len(got) != 1 || !gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	if got, gap := read(t, s, box, at[5]); len(got) != 1 || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

// TestHole: a message that is missing in the middle hides neither those before it
// nor that it is missing.
func TestHole(t *testing.T) {
	s := open(t, Config{})
	box := user("u")
	at := put(t, s, box, "0", "1", "2", "3", "4")
	put(t, s, user("v"), "x", "y")
	at = append(at, put(t, s, box, "5", "6")...)
	for _, i := range []int{1, 2, 5} {
		if err := s.link.Load().nc.Publish("$JS.API.STREAM.MSG.DELETE."+subject.Inbox.Stream(),
			[]byte(`{"seq":`+strconv.FormatUint(at[i], 10)+`}`)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "deletion", func() bool { // the requests may be answered in any order
		for _, i := range []int{1, 2, 5} {
			if m, err := s.Get(ctx, box, at[i]); m != nil || err != nil {
				return false
			}
		}
		return true
	})
	for _, test := range []struct {
		after uint64
		want  string
		gap   bool
	}{
		{0, "0 3 4 6", true}, {at[0], "3 4 6", true}, {at[1], "3 4 6", true}, {at[3], "4 6", true},
		{at[4], "6", true}, {at[5], "6", false}, {at[6], "", false},
	} {
		if got, gap := read(t, s, box, test.after); strings.Join(got, " ") != test.want || gap != test.gap {
			t.Errorf("after %d: got %q, gap %v", test.after, got, gap)
		}
	}
}

func TestGapByAge(t *testing.T) {
	s := open(t, Config{Age: time.Second})
	at := put(t, s, user("u"), "0", "1")
	awaitExpiry(t, s, user("u"))
	put(t, s, user("v"), "other")
	if got, gap := read(t, s, user("u"), at[0]); len(got) > 0 || !gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	s.tails.init() // as after a restart
	put(t, s, user("u"), "2")
	if got, gap := read(t, s, user("u"), at[0]); len(got) != 1 || !gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

func TestBefore(t *testing.T) {
	s := open(t, Config{})
	at := put(t, s, topic("t"), "0", "1", "2")
	m, err := s.Get(ctx, topic("t"), at[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		then time.Time
		want uint64
	}{
		{m.Stored, at[0]}, {m.Stored.Add(1), at[1]}, {time.Now().Add(time.Hour), at[2]}, {m.Stored.Add(-time.Hour), 0},
	} {
		if got, err := s.Before(ctx, topic("t"), test.then); got != test.want || err != nil {
			t.Errorf("before %v: %d, %v, want %d", test.then, got, err, test.want)
		}
	}
}

func TestNothingIsLostByClosing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	at := put(t, s, user("u"), "0", "1")
	if _, err := add(s, user("u"), store.Entry{ID: "id", Payload: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	s.Ack(user("u"), "u", at[0])
	if _, err := Open(ctx, Config{Dir: dir, Logger: quiet}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	s.close()
	s = open(t, Config{Dir: dir})
	if acked, _, err := s.Acked(ctx, user("u"), "u"); acked != at[0] || err != nil {
		t.Errorf("acked %d, %v", acked, err)
	}
	r, err := add(s, user("u"), store.Entry{ID: "id", Payload: []byte("2")})
	if err != nil || !r.Duplicate {
		t.Errorf("%+v, %v", r, err)
	}
	put(t, s, user("u"), "3")
	if got, gap := read(t, s, user("u"), at[0]); strings.Join(got, " ") != "1 2 3" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

// TestLastCostsNothing: looking for messages of a user without any allocates nothing, and does
// not ask JetStream.
func TestLastCostsNothing(t *testing.T) {
	s := open(t, Config{})
	put(t, s, user("other"), "x")
	got := testing.AllocsPerRun(1000, func() {
		if last, err := s.Last(ctx, user("u")); last != 0 || err != nil {
			t.Error(last, err)
		}
		if _, known, err := s.Acked(ctx, user("u"), "u"); known || err != nil {
			t.Error(known, err)
		}
		if _, known, err := s.Acked(ctx, topic("t"), "u"); known || err != nil {
			t.Error(known, err)
		}
	})
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}
