package inbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// childDir names the directory of a store in which this program, as a child of a
// test, appends until it is killed.
const childDir = "FANFARE_TEST_INBOX"

func child(dir string) {
	s, err := Open(ctx, Config{Dir: dir, Logger: quiet})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	eachOf(64, 1<<30, func(i int) {
		user := strconv.Itoa(i % 100)
		r, err := s.Append(ctx, User(user), Entry{Payload: []byte(strconv.Itoa(i))})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("%s %d %d\n", user, r.Offset, i) // one write
	})
}

// TestKill: what an Append has promised is there after kill -9.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	promised := make(map[string]map[uint64]string) // by user and offset
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var user, text string
			var offset uint64
			if _, err := fmt.Sscan(lines.Text(), &user, &offset, &text); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			if promised[user] == nil {
				promised[user] = make(map[uint64]string)
			}
			promised[user][offset] = text
			if n == 1000*(round+1) {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	s := open(t, Config{Dir: dir})
	found := 0
	for user, messages := range promised {
		u, err := s.Read(ctx, User(user), 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range u.Messages {
			if text, ok := messages[m.Offset]; ok {
				if text != string(m.Payload) {
					t.Errorf("%d is %q, want %q", m.Offset, m.Payload, text)
				}
				found++
				delete(messages, m.Offset)
			}
		}
		if len(messages) > 0 {
			t.Errorf("user %s lost %d messages", user, len(messages))
		}
	}
	t.Logf("%d messages", found)
}

// TestDamage: a store that was destroyed says so, or has all of its messages.
func TestDamage(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string)
	}{
		{"everything is gone", func(t *testing.T, dir string) { remove(t, dir, "jetstream") }},
		{"a stream is gone", func(t *testing.T, dir string) { remove(t, dir, "jetstream/$G/streams/"+inboxStream) }},
		{"messages are gone", func(t *testing.T, dir string) { remove(t, dir, "jetstream/$G/streams/"+inboxStream+"/msgs") }},
		{"blocks are gone", func(t *testing.T, dir string) { each(t, dir, ".blk", os.Remove) }},
		{"blocks are empty", func(t *testing.T, dir string) {
			each(t, dir, ".blk", func(file string) error { return os.Truncate(file, 0) })
		}},
		{"blocks are cut", func(t *testing.T, dir string) {
			each(t, dir, ".blk", func(file string) error { return os.Truncate(file, 3000) })
		}},
		{"blocks are garbage", func(t *testing.T, dir string) {
			each(t, dir, ".blk", func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("garbage "), 500), 0o600) })
		}},
		{"a bit is wrong", func(t *testing.T, dir string) {
			each(t, dir, ".blk", func(file string) error { return flip(file, 2000) })
		}},
		{"a bit is wrong, without index", func(t *testing.T, dir string) {
			each(t, dir, "index.db", os.Remove)
			each(t, dir, ".blk", func(file string) error { return flip(file, 2000) })
		}},
		{"meta is garbage", func(t *testing.T, dir string) {
			each(t, dir, "meta.inf", func(file string) error { return os.WriteFile(file, []byte("garbage"), 0o600) })
		}},
		{"witness is garbage", func(t *testing.T, dir string) {
			each(t, dir, "witness.json", func(file string) error { return os.WriteFile(file, []byte("garbage"), 0o600) })
		}},
		{"index is gone", func(t *testing.T, dir string) { each(t, dir, "index.db", os.Remove) }},
		{"index is garbage", func(t *testing.T, dir string) {
			each(t, dir, "index.db", func(file string) error { return os.WriteFile(file, []byte("garbage"), 0o600) })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(ctx, Config{Dir: dir, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				put(t, s, User("u"), strconv.Itoa(i))
			}
			s.Ack(User("u"), "u", 1)
			s.Close()
			test.damage(t, dir)
			s, err = Open(ctx, Config{Dir: dir, Logger: quiet})
			if err != nil {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "restore") {
					t.Errorf("the error does not help: %v", err)
				}
				t.Log(err)
				return
			}
			defer s.Close()
			u, err := s.Read(ctx, User("u"), 1, 1<<30)
			t.Logf("opens: %d messages, gap %v, %v", len(u.Messages), u.Gap, err)
			if err == nil && len(u.Messages) != 99 && !u.Gap {
				t.Errorf("%d messages and no word about it", len(u.Messages))
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func each(t *testing.T, dir, suffix string, damage func(file string) error) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(file, suffix) && (suffix == "witness.json" || strings.Contains(file, inboxStream)) {
			n++
			err = damage(file)
		}
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files: %v", n, err)
	}
}

func flip(file string, at int) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(file, b, 0o600)
}
