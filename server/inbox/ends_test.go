package inbox

import (
	"fmt"
	"strings"
	"testing"

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
