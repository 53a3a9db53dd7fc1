package inbox

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// TestAllEvicted: a box whose messages were all removed at the limit of the disk has a gap
// for those that had not read them, at once, after the next message, after a restart, and
// after the account was compacted. A box that never had any, was read, or was deleted has none.
func TestAllEvicted(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Disk: 1 << 20, DiskFull: FullDropOldest}
	s := open(t, cfg)
	var last uint64
	for _, name := range []string{"victim", "next", "deleted"} {
		last = put(t, s, user(name), "1", "2")[1]
	}
	at := put(t, s, topic("t"), "1")
	if n, err := s.Purge(ctx, user("deleted")); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	flood := func() {
		t.Helper()
		for i := range 30 {
			put(t, s, user("flood"+fmt.Sprint(i%10)), strings.Repeat("x", 50_000))
			put(t, s, topic("flood"+fmt.Sprint(i%10)), strings.Repeat("x", 50_000))
		}
	}
	flood()
	check := func(when string, box store.Box, after uint64, want bool) {
		t.Helper()
		if _, gap := read(t, s, box, after); gap != want {
			t.Errorf("%s: %v after %d: gap %v", when, box, after, gap)
		}
		if end, err := s.Last(ctx, box); (end > after) != want || err != nil {
			t.Errorf("%s: %v ends at %d, %v", when, box, end, err)
		}
	}
	all := func(when string) {
		t.Helper()
		check(when, user("victim"), 0, true)
		check(when, user("victim"), last-5, true)
		check(when, user("victim"), last-4, false)
		check(when, user("deleted"), 0, false)
		check(when, user("nobody"), 0, false)
		check(when, topic("t"), 0, true)
		if before, err := s.Before(ctx, topic("t"), s.now()); before != at[0] || err != nil {
			t.Errorf("%s: a first-time subscriber begins at %d, %v", when, before, err)
		}
	}
	all("at once")
	s.close()
	s = open(t, cfg)
	all("after a restart")
	if err := s.local.account.Compact(cfg.Dir, s.limits(), s.history[subject.Inbox].list(), s.now()); err != nil {
		t.Fatal(err)
	}
	s.close()
	s = open(t, cfg)
	all("after a compaction")
	put(t, s, user("next"), "3")
	if got, gap := read(t, s, user("next"), 0); len(got) != 1 || !gap {
		t.Errorf("with a new message: %q, gap %v", got, gap)
	}
}

// awaitExpiry waits until JetStream has removed all messages of a box.
func awaitExpiry(t *testing.T, s *testStore, b store.Box) {
	t.Helper()
	eventually(t, "expiry", func() bool {
		m, err := s.last(ctx, subject.Of(b))
		if err != nil {
			t.Fatal(err)
		}
		return m == nil
	})
}

// TestAllExpired: a box whose messages have all expired has a gap for those that had not read
// them, at once, after a restart with another age, and after the account was compacted, until
// they have read the marker, the box is deleted, or positions of that time have expired.
func TestAllExpired(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Age: time.Second, Logger: quiet}
	var clock atomic.Int64 // of the store, which stands still, and that of JetStream goes on
	clock.Store(time.Now().UnixNano())
	start := func() *testStore {
		opened, err := openWithClock(ctx, cfg, func() time.Time { return time.Unix(0, clock.Load()) })
		if err != nil {
			t.Fatal(err)
		}
		s := &testStore{Store: opened}
		t.Cleanup(s.close)
		return s
	}
	s := start()
	unread := put(t, s, user("unread"), "1", "2")[1]
	put(t, s, user("deleted"), "1")
	expired := put(t, s, user("removed"), "1")[0]
	at := put(t, s, topic("t"), "1")[0]
	if n, err := s.Purge(ctx, user("deleted")); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	awaitExpiry(t, s, user("removed"))
	awaitExpiry(t, s, topic("t"))
	check := func(when string, box store.Box, after, marker uint64) {
		t.Helper()
		p, err := s.Read(ctx, box, after, 50)
		if err != nil {
			t.Fatal(err)
		}
		var got uint64
		if len(p.Messages) == 1 && p.Messages[0].Expired(s.now()) {
			got = p.Messages[0].Offset
		}
		if got != marker || p.Gap != (marker > 0) {
			t.Errorf("%s: %v after %d: %+v, want marker %d", when, box, after, p, marker)
		}
	}
	all := func(when string) {
		t.Helper()
		check(when, user("unread"), 0, unread)
		check(when, user("unread"), unread-1, unread)
		check(when, user("unread"), unread, 0)
		check(when, user("deleted"), 0, 0)
		check(when, user("nobody"), 0, 0)
		check(when, topic("t"), 0, at)
		if before, err := s.Before(ctx, topic("t"), s.now()); before != at || err != nil {
			t.Errorf("%s: a first-time subscriber begins at %d, %v", when, before, err)
		}
	}
	all("at once")
	check("at once", user("removed"), 0, expired)
	if n, err := s.Purge(ctx, user("removed")); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	check("after it was deleted", user("removed"), 0, 0)
	s.close()
	cfg.Age = time.Hour // a longer one: what has expired before is not taken for damage
	s = start()
	all("after a restart")
	check("after a restart", user("removed"), 0, 0)
	if err := s.local.account.Compact(cfg.Dir, s.limits(), s.history[subject.Inbox].list(), s.now()); err != nil {
		t.Fatal(err)
	}
	s.close()
	s = start()
	all("after a compaction")
	if r, err := add(s, user("unread"), store.Entry{Payload: []byte("3")}); err != nil || r.Prev != unread {
		t.Errorf("the next message follows %d, %v, want %d", r.Prev, err, unread)
	}
	if got, gap := read(t, s, user("unread"), 0); len(got) != 1 || !gap {
		t.Errorf("with a new message: %q, gap %v", got, gap)
	}
	if got, gap := read(t, s, user("unread"), unread); len(got) != 1 || gap {
		t.Errorf("with a new message, after the marker: %q, gap %v", got, gap)
	}
	s.close()
	clock.Add(int64(2*time.Second + time.Hour - time.Millisecond))
	cfg.Age = time.Second
	s = start()
	check("while positions are stored", topic("t"), 0, at)
	s.ends.forget(s.forgotten())
	check("while positions are stored", topic("t"), 0, at)
	clock.Add(int64(time.Millisecond)) // without a compaction, which calls forget
	check("when positions have expired", topic("t"), 0, 0)
	if last, err := s.Last(ctx, topic("t")); last != 0 || err != nil {
		t.Errorf("when positions have expired: the box ends at %d, %v", last, err)
	}
	s.close()
	s = start()
	check("after a restart, when positions have expired", topic("t"), 0, 0)
}
