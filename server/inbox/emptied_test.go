package inbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/store"
)

// TestEmptiedDirectory: a directory that has lost the account and all messages is not
// taken for a new one while the lock file or the reserve is left.
func TestEmptiedDirectory(t *testing.T) {
	list, messages := filepath.Base(account.File("")), "jetstream"
	for _, test := range []struct {
		name    string
		removed []string
		opens   bool
	}{
		{"account and messages", []string{list, messages}, false},
		{"all but the lock", []string{list, messages, account.ReserveName}, false},
		{"all but the reserve", []string{list, messages, account.LockName}, false},
		{"all", []string{list, messages, account.LockName, account.ReserveName}, true},
		{"lock and reserve", []string{account.LockName, account.ReserveName}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Config{Dir: dir})
			at := put(t, s, user("u"), "1", "2", "3")
			epoch := s.Epoch(user("u"))
			s.close()
			for _, name := range test.removed {
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			opened, err := Open(ctx, Config{Dir: dir, Logger: quiet})
			if test.opens {
				if err != nil {
					t.Fatal(err)
				}
				opened.Close()
				return
			}
			if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "all messages are missing") ||
				!strings.Contains(err.Error(), "restore "+dir) || !strings.Contains(err.Error(), "AcceptLoss") {
				t.Errorf("got %v", err)
			}
			var log logged
			s = open(t, Config{Dir: dir, AcceptLoss: true, Logger: log.logger()})
			if !strings.Contains(log.String(), "stored messages missing") {
				t.Errorf("not logged: %s", log.String())
			}
			if continues(t, s, user("u"), epoch, at[2]) {
				t.Error("a client gets no gap")
			}
			if next := put(t, s, user("u"), "4"); next[0] <= at[2] {
				t.Errorf("offset %d after %d", next[0], at[2])
			}
			s.close()
			open(t, Config{Dir: dir})
		})
	}
}

// TestFirstOpenInterrupted: a process that is killed while it opens a new directory for
// the first time leaves one that opens.
func TestFirstOpenInterrupted(t *testing.T) {
	dir := t.TempDir()
	e := newEmbedded(&Config{Dir: dir, Logger: quiet})
	if err := errors.Join(e.acquire(), e.reserve.Acquire()); err != nil {
		t.Fatal(err)
	}
	e.release()
	s := open(t, Config{Dir: dir})
	if at := put(t, s, user("u"), "1"); at[0] != 1 {
		t.Errorf("offset %d", at[0])
	}
}
