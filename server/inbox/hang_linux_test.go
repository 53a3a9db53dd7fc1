package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanfare/server/store"
)

// TestPurgeWithoutAnyRoom: the reserve was given up, and something else has taken its
// place. Deletions fail with a full disk, and do not hang the embedded server: when there
// is room again, the store continues.
func TestPurgeWithoutAnyRoom(t *testing.T) {
	disk := smallDisk(t, 32<<20)
	dir := filepath.Join(disk, "store")
	s := open(t, Config{Dir: dir})
	for i := range 8 {
		for range 60 {
			put(t, s, user(fmt.Sprint(i)), "x")
		}
	}
	put(t, s, user("kept"), "1")
	filler := fill(t, disk)
	var err error
	for i := 0; err == nil; i++ {
		_, err = add(s, user("w"), store.Entry{Payload: []byte(strings.Repeat("x", 100_000))})
	}
	if !errors.Is(err, store.ErrDiskFull) {
		t.Fatal(err)
	}
	eventually(t, "degraded operation", func() bool { _, err := s.Last(ctx, user("kept")); return err == nil })
	more := filepath.Join(disk, "more")
	s.local.deleting.RLock() // an attempt to write the reserve would leave the room that it took
	grow(t, more)
	s.local.deleting.RUnlock()
	for i := range 8 {
		if n, err := s.Purge(ctx, user(fmt.Sprint(i))); !errors.Is(err, store.ErrDiskFull) || !strings.Contains(err.Error(), "room to delete") {
			t.Errorf("purge: %d, %v", n, err)
		}
	}
	// Room for some deletions is not enough for the reserve.
	if err := os.Truncate(more, 1<<20); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if n, err := s.Purge(ctx, user(fmt.Sprint(i))); n != 60 || err != nil {
			t.Errorf("purge: %d, %v", n, err)
		}
	}
	if err := errors.Join(os.Remove(filler), os.Remove(more)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	put(t, s, user("kept"), "2")
	if got, gap := read(t, s, user("kept"), 0); strings.Join(got, " ") != "1 2" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	s.close()
	open(t, Config{Dir: dir})
}

// grow appends to a file until there is no room on its disk.
func grow(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); len(b) > 0; {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
}
