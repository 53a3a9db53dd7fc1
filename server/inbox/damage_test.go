package inbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// accepted is what a store has reported as stored.
type accepted struct {
	messages  map[store.Box]map[uint64]string
	positions map[store.Box]string // user
	purged    store.Box
}

// populate fills a store, and returns what was accepted.
func populate(t *testing.T, s store.Store) *accepted {
	a := &accepted{messages: make(map[store.Box]map[uint64]string), positions: make(map[store.Box]string), purged: user("purged")}
	put(t, s, a.purged, "1", "2", "3")
	for i := range 5 {
		for _, box := range []store.Box{user("u"), user("v.w"), topic("t")} {
			text := fmt.Sprintf("%d of %v", i, box)
			if a.messages[box] == nil {
				a.messages[box] = make(map[uint64]string)
			}
			a.messages[box][put(t, s, box, text)[0]] = text
		}
	}
	if _, err := s.Purge(ctx, a.purged); err != nil {
		t.Fatal(err)
	}
	for box, name := range map[store.Box]string{user("u"): "u", topic("t"): "reader"} {
		if err := s.AckSync(ctx, box, name, 1); err != nil {
			t.Fatal(err)
		}
		a.positions[box] = name
	}
	return a
}

// check fails unless all that was accepted is there, or its loss is announced. gaps
// tells whether a loss may be announced.
func (a *accepted) check(t *testing.T, s store.Store, gaps bool) {
	t.Helper()
	for box, messages := range a.messages {
		var offsets []uint64
		for offset := range messages {
			offsets = append(offsets, offset)
		}
		slices.Sort(offsets)
		last, err := s.Last(ctx, box)
		if err != nil {
			t.Fatal(err)
		}
		for _, after := range append([]uint64{0}, offsets...) {
			got := make(map[uint64]string)
			gap := false
			if last > after { // else nothing is read
				p, err := s.Read(ctx, box, after, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range p.Messages {
					got[m.Offset] = string(m.Payload)
				}
				gap = p.Gap
			}
			for _, offset := range offsets {
				if text, ok := got[offset]; offset > after && text != messages[offset] && (ok || !gap) {
					t.Errorf("%v after %d: message %d is %q, not %q, gap %v", box, after, offset, text, messages[offset], gap)
				}
			}
			if gap && !gaps {
				t.Errorf("%v after %d: a gap, and nothing was lost", box, after)
			}
		}
	}
	for box, name := range a.positions {
		if _, known, err := s.Acked(ctx, box, name); !known || err != nil {
			t.Errorf("position of %s in %v: known %v, %v", name, box, known, err)
		}
	}
	if got, _ := read(t, s, a.purged, 0); len(got) > 0 {
		t.Errorf("deleted messages are there again: %q", got)
	}
	// It can be used.
	if r, err := add(s, user("u"), store.Entry{Payload: []byte("new")}); err != nil || r.Offset <= slices.Max(maxOffsets(a, user("u"))) {
		t.Errorf("a new message: %+v, %v", r, err)
	}
}

func maxOffsets(a *accepted, box store.Box) (offsets []uint64) {
	for offset := range a.messages[box] {
		offsets = append(offsets, offset)
	}
	return offsets
}

// files returns the files of a directory, except the lock and the reserve.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err == nil && name != "reserve" && name != account.LockName {
			all[name], err = os.ReadFile(file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// lay writes files into a new directory.
func lay(t *testing.T, all map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	// A reserve without content, which is not written anew each time.
	if err := os.WriteFile(filepath.Join(dir, "reserve"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "reserve"), datadir.ReserveSize); err != nil {
		t.Fatal(err)
	}
	for name, b := range all {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// killed and closed return the files of a store that was filled, and then killed or
// closed.
func killed(t *testing.T) (map[string][]byte, *accepted) {
	s := open(t, Config{})
	a := populate(t, s)
	return files(t, s.cfg.Dir), a
}

func closed(t *testing.T) (map[string][]byte, *accepted) {
	s := open(t, Config{})
	a := populate(t, s)
	s.close()
	return files(t, s.cfg.Dir), a
}

// change is what happens to a file.
type change struct {
	name string
	do   func(b []byte) []byte // nil: the file is gone
}

// changes of each class: damaged bytes in each part of the file, cuts, and its loss.
func changesOf(b []byte, step int) (all []change) {
	all = []change{
		{"gone", func([]byte) []byte { return nil }},
		{"empty", func([]byte) []byte { return []byte{} }},
		{"garbage", func(b []byte) []byte { return bytes.Repeat([]byte("garbage "), len(b)/8+1) }},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"prolonged", func(b []byte) []byte { return append(b, "garbage"...) }},
	}
	for _, n := range []int{1, 7, len(b) / 3, len(b) / 2, len(b) - 9} {
		if n > 0 && n < len(b) {
			all = append(all, change{fmt.Sprintf("%d bytes cut", n), func(b []byte) []byte { return b[:len(b)-n] }})
		}
	}
	for at := 0; at < len(b); at += step {
		all = append(all, change{fmt.Sprintf("byte %d wrong", at), func(b []byte) []byte { b[at] ^= 0x41; return b }})
	}
	for at := 300; at+7 < len(b); at += 300 {
		all = append(all, change{fmt.Sprintf("7 bytes at %d wrong", at), func(b []byte) []byte { copy(b[at:], "XXXXXXX"); return b }})
	}
	return all
}

func with(all map[string][]byte, name string, c change) map[string][]byte {
	changed := make(map[string][]byte)
	for n, b := range all {
		if n == name {
			b = c.do(bytes.Clone(b))
		}
		if b != nil {
			changed[n] = b
		}
	}
	return changed
}

// TestDamage: whatever happens to a file of a store, it has all that was accepted, or
// it does not open, says what is missing, and changes nothing. With AcceptLoss it
// opens, has what is left, and readers of what is missing get a gap.
func TestDamage(t *testing.T) {
	for name, make := range map[string]func(*testing.T) (map[string][]byte, *accepted){"killed": killed, "closed": closed} {
		t.Run(name, func(t *testing.T) {
			if raceEnabled && name == "killed" {
				t.Skip("opens as many stores again, with the same goroutines as for closed ones")
			}
			all, a := make(t)
			var refused atomic.Int64
			t.Cleanup(func() {
				t.Logf("refused %d times", refused.Load())
				if refused.Load() == 0 {
					t.Error("nothing is detected")
				}
			})
			for file, b := range all {
				step := max(len(b)/7, 1)
				for i, c := range changesOf(b, step) {
					if raceEnabled && i%8 != 0 { // some of each file; the pass without the race detector makes all
						continue
					}
					t.Run(filepath.Base(filepath.Dir(filepath.Dir(file)))+" "+filepath.Base(file)+" "+c.name, func(t *testing.T) {
						t.Parallel() // opening a store waits for the disk
						if tryDamaged(t, with(all, file, c), a) {
							refused.Add(1)
						}
					})
				}
			}
		})
	}
}

// tryDamaged opens damaged files and reports whether that failed.
func tryDamaged(t *testing.T, damaged map[string][]byte, a *accepted) (refused bool) {
	dir := lay(t, damaged)
	opened, err := Open(ctx, Config{Dir: dir, Logger: quiet})
	if err == nil {
		a.check(t, opened, false)
		opened.Close()
		return false
	}
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "restore "+dir) || !strings.Contains(err.Error(), "AcceptLoss") ||
		!strings.Contains(err.Error(), "missing") {
		t.Errorf("the error does not help: %v", err)
	}
	for name, b := range files(t, dir) {
		if was, ok := damaged[name]; ok && !bytes.Equal(was, b) {
			t.Errorf("%s is changed", name)
		}
	}
	var log logged
	opened, err = Open(ctx, Config{Dir: dir, Logger: log.logger(), AcceptLoss: true})
	if err != nil {
		t.Fatalf("AcceptLoss: %v", err)
	}
	if !strings.Contains(log.String(), "stored messages missing") {
		t.Errorf("not logged: %s", log.String())
	}
	a.check(t, opened, true)
	opened.Close()
	// Once is enough.
	opened, err = Open(ctx, Config{Dir: dir, Logger: quiet})
	if err != nil {
		t.Fatalf("after AcceptLoss: %v", err)
	}
	opened.Close()
	return true
}

// TestDamagedDescription: a damaged file that describes a stream is written again, and
// named in the log without JetStream's words. No message is missing.
func TestDamagedDescription(t *testing.T) {
	all, a := closed(t)
	for _, name := range []string{"meta.inf", "meta.sum"} {
		file := filepath.Join("jetstream", "$G", "streams", subject.Inbox.Stream(), name)
		for _, c := range []change{
			{"gone", func([]byte) []byte { return nil }},
			{"wrong", func(b []byte) []byte { b[3] ^= 1; return b }},
		} {
			dir := lay(t, with(all, file, c))
			var log logged
			s := open(t, Config{Dir: dir, Logger: log.logger()})
			a.check(t, s, false)
			want := "file=" + filepath.Join(dir, filepath.Dir(file), "meta.inf")
			if text := log.String(); strings.Count(text, want) != 1 || strings.Contains(text, "JetStream") {
				t.Errorf("%s %s: logged %s, want %s", name, c.name, text, want)
			}
			s.close()
		}
	}
}

// TestLossIsCounted: the error says what is missing, and for how many users.
func TestLossIsCounted(t *testing.T) {
	all, _ := killed(t)
	block := filepath.Join("jetstream", "$G", "streams", subject.Inbox.Stream(), "msgs", "1.blk")
	for _, test := range []struct {
		name string
		c    change
		want string
	}{
		{"payload of the last message", change{"", func(b []byte) []byte { b[bytes.Index(b, []byte("4 of"))] = 'X'; return b }}, "1 message of 1 user is missing"},
		{"all", change{"", func(b []byte) []byte { return nil }}, "10 messages of 2 users are missing"},
	} {
		dir := lay(t, with(all, block, test.c))
		_, err := Open(ctx, Config{Dir: dir, Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}
