package inbox

import (
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// fillInboxes appends 8 messages each to a user who has read none of them, one who has read all, one
// who has read 5, and to a topic.
func fillInboxes(t *testing.T, s *testStore) {
	t.Helper()
	eight := func(b store.Box, size int) (offsets []uint64) {
		for range 8 {
			offsets = append(offsets, put(t, s, b, strings.Repeat("x", size))...)
		}
		return offsets
	}
	eight(user("unread"), 100_000)
	read, half := eight(user("read"), 100_000), eight(user("half"), 1)
	eight(topic("t"), 1)
	for name, offset := range map[string]uint64{"read": read[7], "half": half[4]} {
		if err := s.AckSync(ctx, user(name), name, offset); err != nil {
			t.Fatal(err)
		}
	}
}

func flagName(field string) string { return "--" + strings.ToLower(field) }

// TestStricterLimits: the start says what stricter limits remove, and does not take place where
// that would remove unread messages although the limit is not to remove any.
func TestStricterLimits(t *testing.T) {
	const removed = "stored messages removed at a lower limit"
	for _, test := range []struct {
		name   string
		change func(*Config)
		logged string // empty: nothing
		failed string // the error; empty: none
		gap    bool   // for the user who has read nothing
	}{
		{"same", func(*Config) {}, "", "", false},
		{"greater", func(c *Config) { c.Messages, c.Age, c.Disk = 2000, 2*c.Age, 2*c.Disk }, "", "", false},
		{"just enough", func(c *Config) { c.Messages, c.UserFull = 8, FullReject }, "", "", false},
		{"messages", func(c *Config) { c.Messages = 2 },
			"limit=--messages value=2 messages=24 unread=7 users=2 topics=1 ", "", true},
		{"messages that are unread", func(c *Config) { c.Messages, c.UserFull = 2, FullReject }, "",
			"Messages is 2: 7 unread messages of 2 users are beyond it; want a greater limit", false},
		{"disk", func(c *Config) { c.Disk, c.DiskFull = 1<<20, FullDropOldest },
			"limit=--disk value=1048576 messages=6 unread=6 users=1 topics=0 ", "", true},
		{"age", func(c *Config) { c.Age = time.Hour },
			"limit=--age value=1h0m0s messages=32 unread=11 users=2 topics=1 ", "", false}, // JetStream has another clock here
	} {
		t.Run(test.name, func(t *testing.T) {
			var log logged
			cfg := Config{Dir: t.TempDir(), Age: 3 * time.Hour, Bytes: 10 << 20, FieldName: flagName, Logger: log.logger()}
			opened, err := openWithClock(ctx, cfg, func() time.Time { return time.Now().Add(-2 * time.Hour) })
			if err != nil {
				t.Fatal(err)
			}
			s := &testStore{Store: opened}
			t.Cleanup(s.close)
			fillInboxes(t, s)
			s.close()
			changed := cfg
			test.change(&changed)
			opened, err = Open(ctx, changed)
			if test.failed != "" {
				if err == nil {
					opened.Close()
				}
				if err == nil || !strings.Contains(err.Error(), test.failed) {
					t.Errorf("%v, want %q", err, test.failed)
				}
				changed = cfg // with which everything is there
				opened, err = Open(ctx, changed)
			}
			if err != nil {
				t.Fatal(err)
			}
			s = &testStore{Store: opened}
			t.Cleanup(s.close)
			if got := log.String(); strings.Count(got, removed) != strings.Count(test.logged, "limit=") || !strings.Contains(got, test.logged) {
				t.Errorf("logged %s, want %q", got, test.logged)
			}
			if _, gap := read(t, s, user("unread"), 0); gap != test.gap {
				t.Errorf("gap %v", gap)
			}
		})
	}
	t.Run("only read messages", func(t *testing.T) { // may be removed where unread ones may not
		var log logged
		cfg := Config{Dir: t.TempDir(), Bytes: 10 << 20, Logger: log.logger()}
		s := open(t, cfg)
		fillInboxes(t, s)
		if n, err := s.Purge(ctx, user("unread")); n != 8 || err != nil {
			t.Fatal(n, err)
		}
		s.close()
		cfg.Messages, cfg.UserFull = 3, FullReject
		s = open(t, cfg)
		if want := "limit=Config.Messages value=3 messages=15 unread=0 users=0 topics=1 "; !strings.Contains(log.String(), want) {
			t.Errorf("logged %s, want %q", log.String(), want)
		}
		if got, gap := read(t, s, user("half"), 0); len(got) != 3 || !gap {
			t.Errorf("%d messages, gap %v", len(got), gap)
		}
	})
}

// TestStricterLimitsOutside is TestStricterLimits for an outside NATS.
func TestStricterLimitsOutside(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		logged string
		ready  string // contained in what Ready returns; empty: nil
	}{
		{"same", func(*Config) {}, "", ""},
		{"messages", func(c *Config) { c.Messages = 2 }, `stream=FANFARE_INBOX limits=[--messages] messages=18 expire=false `, ""},
		{"messages that are unread", func(c *Config) { c.Messages, c.UserFull = 2, FullReject }, "",
			"Messages is 2: 7 unread messages of 2 users are beyond it"},
		{"messages that are read", func(c *Config) { c.Messages, c.UserFull = 8, FullReject }, "", ""},
		{"disk", func(c *Config) { c.Disk, c.DiskFull = 1<<20, FullDropOldest }, `stream=FANFARE_INBOX limits=[--disk] messages=6 expire=false `, ""},
		{"age", func(c *Config) { c.Age = time.Second }, `stream=FANFARE_INBOX limits=[--age] messages=`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log logged
			cfg := Config{URL: outside(t, natsserver.Options{}), Bytes: 10 << 20, FieldName: flagName, Logger: log.logger()}
			s := open(t, cfg)
			fillInboxes(t, s)
			test.change(&cfg)
			eventually(t, "age of the first message", func() bool {
				m, err := s.first(ctx, subject.Of(user("unread")))
				return err == nil && (cfg.Age == 0 || time.Since(m.Stored) > cfg.Age)
			})
			s.close()
			s = open(t, cfg)
			if err := s.Ready(); (err == nil) != (test.ready == "") || err != nil && !strings.Contains(err.Error(), test.ready) {
				t.Errorf("%v, want %q", err, test.ready)
			}
			if got := log.String(); !strings.Contains(got, test.logged) || test.logged == "" && strings.Contains(got, "at a lower limit") {
				t.Errorf("logged %s, want %q", got, test.logged)
			}
		})
	}
}
