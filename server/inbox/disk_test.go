package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// TestDirectoryDisappears: removed while the store runs, it is noticed soon, and
// nothing is accepted any more.
func TestDirectoryDisappears(t *testing.T) {
	if watchInterval > time.Second {
		t.Errorf("noticed within %v, want 2 s at most", 2*watchInterval)
	}
	for name, remove := range map[string]func(dir string) error{
		"all of it": os.RemoveAll,
		"moved":     func(dir string) error { return os.Rename(dir, dir+" moved") },
		"replaced": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+" moved"), os.CopyFS(dir, os.DirFS(dir+" moved")))
		},
		"JetStream's part": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "jetstream")) },
		"a stream":         func(dir string) error { return os.RemoveAll(account.StreamDir(dir, subject.Topic)) },
		"the last block": func(dir string) error {
			return os.Remove(filepath.Join(account.StreamDir(dir, subject.Inbox), "msgs", "1.blk"))
		},
		"a description": func(dir string) error {
			return os.Remove(filepath.Join(account.StreamDir(dir, subject.Inbox), "meta.inf"))
		},
		"the account": func(dir string) error { return os.Remove(account.File(dir)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			var log logged
			s := open(t, Config{Dir: dir, Logger: log.logger()})
			put(t, s, user("u"), "1")
			if err := remove(dir); err != nil {
				t.Fatal(err)
			}
			eventually(t, "notice", func() bool { return s.Ready() != nil })
			_, err := add(s, user("u"), store.Entry{Payload: []byte("2")})
			if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "disappeared") {
				t.Errorf("append: %v", err)
			}
			if _, err := s.Last(ctx, user("u")); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("look: %v", err)
			}
			if _, err := s.Last(ctx, user("without messages")); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("look without messages: %v", err)
			}
			if err := s.AckSync(ctx, user("u"), "u", 1); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("ack: %v", err)
			}
			if s.Epoch(user("u")) != "" {
				t.Error("there is an epoch")
			}
			eventually(t, "log line", func() bool { return strings.Contains(log.String(), "stored messages unavailable") })
		})
	}
}

// TestDirectoryOutOfSight: a directory that cannot be looked at for a moment, because no file
// descriptor is left or a part may not be read, has not disappeared.
func TestDirectoryOutOfSight(t *testing.T) {
	var log logged
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, Logger: log.logger()})
	put(t, s, user("u"), "1")
	// A link to itself fails with ELOOP, for root as well.
	account := account.File(dir)
	if err := errors.Join(os.Rename(account, account+" moved"), os.Symlink(account, account)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "log line", func() bool { return strings.Contains(log.String(), "data directory not checked") })
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	if err := os.Rename(account+" moved", account); err != nil {
		t.Fatal(err)
	}
	put(t, s, user("u"), "2")
	time.Sleep(2 * watchInterval) // it would have been found missing
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "data directory not checked"); n != 1 {
		t.Errorf("%d lines", n)
	}
}

// TestSmallerDisk: a limit below what is stored names the field, what is stored, and
// what to do.
func TestSmallerDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	for i := range 30 {
		put(t, s, user(fmt.Sprint(i)), strings.Repeat("x", 100_000))
		if err := s.AckSync(ctx, user(fmt.Sprint(i)), "", 1); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	_, err := Open(ctx, Config{Dir: dir, Disk: 2 << 20, Logger: quiet})
	for _, want := range []string{"Disk is 2097152", "30 messages of 30", "want at least 30"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrDamaged) {
		t.Errorf("%v is not a wrong configuration", err)
	}
	// Nothing has changed.
	s = open(t, Config{Dir: dir})
	if got, gap := read(t, s, user("0"), 0); len(got) != 1 || gap {
		t.Errorf("%d messages, gap %v", len(got), gap)
	}
	s.close()
	s = open(t, Config{Dir: dir, Disk: 2 << 20, DiskFull: FullDropOldest})
	if got, _ := read(t, s, user("29"), 0); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
}

// TestQuietLog: an embedded store says nothing of a NATS that does not exist, also
// when its server is started again.
func TestQuietLog(t *testing.T) {
	var log logged
	s := open(t, Config{Logger: log.logger()})
	put(t, s, user("u"), "1")
	s.local.log.Errorf("JetStream stream '$G > X' critical write error: %s", "input/output error")
	eventually(t, "failure", func() bool { return s.Ready() != nil })
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	put(t, s, user("u"), "2")
	s.close()
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "127.0.0.1") || strings.Contains(line, "nats://") || strings.Contains(line, "NATS") {
			t.Error(line)
		}
	}
	if !strings.Contains(log.String(), "store accepts messages again") {
		t.Errorf("got %s", log.String())
	}
}
