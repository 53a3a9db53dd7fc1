package inbox

import (
	"errors"
	"strings"
	"testing"
	"time"

	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/store"
)

// TestHeal: after a failed write the store reports the reason at once, and recovers.
func TestHeal(t *testing.T) {
	s := open(t, Config{})
	put(t, s, user("u"), "before")
	s.local.log.Errorf("JetStream stream '$G > X' critical write error: %s", "no space left on device")
	var err error
	for deadline := time.Now().Add(30 * time.Second); err == nil; time.Sleep(time.Millisecond) {
		if _, err = add(s, user("u"), store.Entry{ID: "1", Payload: []byte("rejected")}); time.Now().After(deadline) {
			t.Fatal("no append fails")
		}
	}
	if !errors.Is(err, store.ErrDiskFull) || s.Ready() == nil {
		t.Errorf("got %v; ready: %v", err, s.Ready())
	}
	for deadline := time.Now().Add(30 * time.Second); s.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.Ready())
		}
	}
	put(t, s, user("u"), "after")
	if got, gap := read(t, s, user("u"), 0); got[0] != "before" || got[len(got)-1] != "after" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

// TestReopenAfterHeal: a store that has recovered, with nothing to add to its account,
// opens again.
func TestReopenAfterHeal(t *testing.T) {
	s := open(t, Config{})
	put(t, s, user("u"), "before")
	s.reject(datadir.DiskFull(s.cfg.Dir))
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	put(t, s, user("u"), "after")
	s.close()
	s = open(t, Config{Dir: s.cfg.Dir})
	if got, gap := read(t, s, user("u"), 0); len(got) != 2 || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

// TestIllnessNamesItsCause: what JetStream could not write is not always the fault of the disk.
func TestIllnessNamesItsCause(t *testing.T) {
	s := &Store{local: &embedded{dir: "/data"}}
	for says, want := range map[string]string{
		"critical write error: write /data/1.blk: no space left on device": "disk full",
		"critical write error: open /data/2.blk: too many open files":      "no file descriptor left",
		"open /data/2.blk: too many open files in system":                  "no file descriptor left",
		"critical write error: write /data/1.blk: input/output error":      "the disk fails; the store continues by itself when /data can be written",
	} {
		err := s.illness(says)
		if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrDiskFull) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", says, err, want)
		}
		if want != "disk full" && !strings.HasSuffix(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}
