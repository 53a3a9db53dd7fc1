package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/store"
)

// smallDisk mounts a file system of so many bytes.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("no permission to mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill leaves no room on a disk.
func fill(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "filler")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); len(b) > 0; {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
	return file
}

// TestFullDisk: while it is full nothing is accepted, what is stored can be read and
// deleted, and a restart succeeds. When there is room, the store continues by itself.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, 32<<20)
	dir := filepath.Join(disk, "store")
	s := open(t, Config{Dir: dir})
	put(t, s, user("u"), "1", "2")
	put(t, s, user("v"), "1", "2", "3")
	filler := fill(t, disk)

	// Until one is rejected.
	var accepted []string
	var err error
	for i := 0; err == nil; i++ {
		text := fmt.Sprint(i, strings.Repeat("x", 100_000))
		if _, err = add(s, user("w"), store.Entry{Payload: []byte(text)}); err == nil {
			accepted = append(accepted, text)
		}
	}
	if !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("append: %v", err)
	}
	full := func(s *testStore) {
		t.Helper()
		eventually(t, "degraded operation", func() bool { _, err := s.Last(ctx, user("u")); return err == nil })
		if err := s.Ready(); !errors.Is(err, store.ErrDiskFull) {
			t.Errorf("ready: %v", err)
		}
		if _, err := add(s, user("u"), store.Entry{Payload: []byte("x")}); !errors.Is(err, store.ErrDiskFull) {
			t.Errorf("append: %v", err)
		}
		if got, _ := read(t, s, user("u"), 0); strings.Join(got, " ") != "1 2" {
			t.Errorf("got %q", got)
		}
	}
	full(s)
	if n, err := s.Purge(ctx, user("v")); n != 3 || err != nil {
		t.Errorf("purge: %d, %v", n, err)
	}
	s.close()

	s = open(t, Config{Dir: dir})
	full(s)
	if got, _ := read(t, s, user("v"), 0); len(got) > 0 {
		t.Errorf("deleted, and there again: %q", got)
	}
	if n, err := s.Purge(ctx, user("v")); n != 0 || err != nil {
		t.Errorf("purge: %d, %v", n, err)
	}
	recovered := make(chan struct{}, 10)
	s.OnRecover(func() { recovered <- struct{}{} })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	<-recovered
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	put(t, s, user("u"), "3")
	if got, gap := read(t, s, user("u"), 0); strings.Join(got, " ") != "1 2 3" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	got, _ := read(t, s, user("w"), 0)
	if len(got) < len(accepted) || fmt.Sprint(got[:len(accepted)]) != fmt.Sprint(accepted) {
		t.Errorf("%d of %d messages that were accepted are there", len(got), len(accepted))
	}
}

// TestOpenOnFullDisk: a new store, on a disk without any room, opens and says why it
// cannot be used.
func TestOpenOnFullDisk(t *testing.T) {
	disk := smallDisk(t, 16<<20)
	dir := filepath.Join(disk, "store")
	filler := fill(t, disk)
	s := open(t, Config{Dir: dir})
	if err := s.Ready(); !errors.Is(err, store.ErrDiskFull) || !strings.Contains(err.Error(), dir) {
		t.Errorf("ready: %v", err)
	}
	if _, err := add(s, user("u"), store.Entry{Payload: []byte("x")}); !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("append: %v", err)
	}
	for _, f := range []func() error{
		func() error { _, err := s.Last(ctx, user("u")); return err },
		func() error { _, err := s.Purge(ctx, user("u")); return err },
		func() error { _, _, err := s.Acked(ctx, user("u"), "u"); return err },
		func() error { _, err := s.Read(ctx, user("u"), 0, 1); return err },
		func() error { return s.AckSync(ctx, user("u"), "u", 1) },
		func() error { _, err := s.Continues(ctx, user("u"), "x", 1); return err },
	} {
		if err := f(); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	put(t, s, user("u"), "1")
	if got, _ := read(t, s, user("u"), 0); strings.Join(got, " ") != "1" {
		t.Errorf("got %q", got)
	}
}

// TestRestartsOnFullDisk: a store that is killed again and again on a full disk
// opens each time, and loses nothing.
func TestRestartsOnFullDisk(t *testing.T) {
	disk := smallDisk(t, 32<<20)
	dir := filepath.Join(disk, "store")
	s := open(t, Config{Dir: dir})
	at := put(t, s, user("u"), "1", "2", "3")
	if err := s.AckSync(ctx, user("u"), "u", at[0]); err != nil {
		t.Fatal(err)
	}
	fill(t, disk)
	for range 5 {
		s.close()
		s = open(t, Config{Dir: dir})
		eventually(t, "degraded operation", func() bool { _, err := s.Last(ctx, user("u")); return err == nil })
		if got, gap := read(t, s, user("u"), at[0]); strings.Join(got, " ") != "2 3" || gap {
			t.Errorf("got %q, gap %v", got, gap)
		}
		if acked, _, err := s.Acked(ctx, user("u"), "u"); acked != at[0] || err != nil {
			t.Errorf("acked %d, %v", acked, err)
		}
		s.reject(datadir.DiskFull(dir)) // frees the reserve
	}
}
