package inbox

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/subject"
)

// TestPowerCut: what a power cut may cost according to Sync does not keep the store
// from opening, and is announced by a gap. It is not tolerated without a restart of
// the machine, nor with a negative Sync, nor beyond what was flushed.
func TestPowerCut(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   Config
		boot  string
		flush bool
		opens bool
	}{
		{"power cut", Config{}, "another boot", false, true},
		{"same boot", Config{}, datadir.BootID(), false, false},
		{"flushed", Config{}, "another boot", true, false},
		{"always flushed", Config{Sync: -1}, "another boot", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := test.cfg
			cfg.Dir, cfg.Logger = t.TempDir(), quiet
			s := open(t, cfg)
			put(t, s, user("u"), "1")
			s.markForTest(t)
			at := put(t, s, user("u"), "2", "3")
			if test.flush {
				s.markForTest(t)
			}
			all := files(t, cfg.Dir)
			s.close()
			block := filepath.Join("jetstream", "$G", "streams", subject.Inbox.Stream(), "msgs", "1.blk")
			cut := bytes.LastIndex(all[block], []byte("fanfare.inbox.u")) - account.RecordHeader
			all[block] = all[block][:cut]
			dir := lay(t, all)
			c, err := account.Inspect(context.Background(), dir, test.boot, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if c.Loss.Messages != 1 || c.Loss.Tolerable() != test.opens {
				t.Fatalf("%d messages missing, tolerable %v", c.Loss.Messages, c.Loss.Tolerable())
			}
			if !test.opens {
				return
			}
			after := openBooted(t, dir, test.boot)
			if got, gap := read(t, after, user("u"), at[0]); len(got) > 0 || !gap {
				t.Errorf("got %q, gap %v", got, gap)
			}
			if last, err := after.Last(ctx, user("u")); last <= at[1] || err != nil {
				t.Errorf("the box ends at %d, %v: a session does not look for a gap", last, err)
			}
			if next := put(t, after, user("u"), "new"); next[0] <= at[1] {
				t.Errorf("offset %d is assigned a second time", next[0])
			}
		})
	}
}

// markForTest brings the account up to date, as happens each second.
func (s *testStore) markForTest(t *testing.T) {
	t.Helper()
	size, _ := s.local.account.Sizes()
	eventually(t, "mark", func() bool {
		_, durable := s.local.account.Sizes()
		return durable >= size
	})
	// The mark itself must be durable, too.
	eventually(t, "mark", func() bool {
		tally, err := account.ReadTally(s.local.account.File, -1)
		return err == nil && tally.Durable >= size
	})
}

// openBooted opens a store on a machine that was started again.
func openBooted(t *testing.T, dir, boot string) *testStore {
	t.Helper()
	defer func(was func() string) { bootOfMachine = was }(bootOfMachine)
	bootOfMachine = func() string { return boot }
	return open(t, Config{Dir: dir})
}
