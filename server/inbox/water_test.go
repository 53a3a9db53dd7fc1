package inbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// TestEndsCutTogether: the ends of the account and of the last block of messages are cut
// off, each within an entry or after one. The lock file shows that messages were accepted
// which neither has. A cut of one of the two is not taken for more than it is.
func TestEndsCutTogether(t *testing.T) {
	block := filepath.Join("jetstream", "$G", "streams", subject.Inbox.Stream(), "msgs", "1.blk")
	for _, test := range []struct {
		name        string
		cfg         Config
		boot        string
		log, blk    int // bytes cut off, beyond the end of the kept message; -1: nothing
		opens, gaps bool
	}{
		{"always, killed, torn", Config{Sync: -1}, datadir.BootID(), 5, 5, false, true},
		{"always, killed, between entries", Config{Sync: -1}, datadir.BootID(), 0, 0, false, true},
		{"always, power cut", Config{Sync: -1}, "another boot", 0, 0, false, true},
		{"1s, killed", Config{}, datadir.BootID(), 0, 0, false, true},
		{"1s, killed, torn", Config{}, datadir.BootID(), 5, 5, false, true},
		{"1s, power cut", Config{}, "another boot", 0, 0, true, true},
		{"1s, power cut, torn", Config{}, "another boot", 5, 5, true, true},
		{"account only", Config{Sync: -1}, datadir.BootID(), 0, -1, true, false},
		{"account only, torn", Config{}, datadir.BootID(), 5, -1, true, false},
		{"nothing", Config{Sync: -1}, datadir.BootID(), -1, -1, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := test.cfg
			cfg.Dir, cfg.Logger = t.TempDir(), quiet
			s := open(t, cfg)
			at := put(t, s, user("kept"), "1")
			s.markForTest(t)
			kept := files(t, cfg.Dir)
			put(t, s, user("lost"), "2")
			put(t, s, user("kept"), "3")
			all := files(t, cfg.Dir)
			lock, err := os.ReadFile(filepath.Join(cfg.Dir, account.LockName))
			if err != nil {
				t.Fatal(err)
			}
			s.close()
			all[account.LockName] = bytes.Clone(lock)
			for name, cut := range map[string]int{filepath.Base(account.File("")): test.log, block: test.blk} {
				if cut >= 0 {
					all[name] = all[name][:len(kept[name])+cut]
				}
			}
			dir := lay(t, all)
			defer func(was func() string) { bootOfMachine = was }(bootOfMachine)
			bootOfMachine = func() string { return test.boot }
			var log logged
			cfg.Dir, cfg.Logger = dir, log.logger()
			opened, err := Open(ctx, cfg)
			if (err == nil) != test.opens {
				t.Fatalf("open: %v", err)
			}
			if err != nil {
				if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "cut off: 2 messages at least") {
					t.Errorf("open: %v", err)
				}
				cfg.AcceptLoss = true
				if opened, err = Open(ctx, cfg); err != nil {
					t.Fatal(err)
				}
			}
			s = &testStore{Store: opened}
			defer s.close()
			if _, gap := read(t, s, user("kept"), at[0]); gap != test.gaps {
				t.Errorf("gap %v, want %v; %s", gap, test.gaps, log.String())
			}
			if lost := strings.Contains(log.String(), "cut off"); lost != test.gaps {
				t.Errorf("logged %v: %s", lost, log.String())
			}
			if next := put(t, s, user("u"), "new"); next[0] <= at[0]+2 {
				t.Errorf("offset %d is assigned a second time", next[0])
			}
			// Once is enough.
			s.close()
			cfg.AcceptLoss = false
			open(t, cfg)
		})
	}
}

// TestHighWaterFollows: what the lock file says never goes beyond the account, also when
// that is replaced by a shorter one.
func TestHighWaterFollows(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		s := open(t, Config{Dir: dir})
		put(t, s, user("u"), strings.Split(strings.Repeat("x", 20), "")...)
		if round == 1 {
			if err := s.local.account.Compact(dir, s.limits(), s.history[subject.Inbox].list(), s.now()); err != nil {
				t.Fatal(err)
			}
			put(t, s, user("u"), "y")
		}
		all := files(t, dir)
		lock, err := os.ReadFile(filepath.Join(dir, account.LockName))
		if err != nil {
			t.Fatal(err)
		}
		s.close()
		all[account.LockName] = lock
		dir = lay(t, all) // as after a kill
	}
	s := open(t, Config{Dir: dir})
	if got, gap := read(t, s, user("u"), 0); len(got) != 61 || gap {
		t.Errorf("%d messages, gap %v", len(got), gap)
	}
}
