package inbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"fanfare/server/store"
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
		name := strconv.Itoa(i % 100)
		r, err := add(s, user(name), store.Entry{Payload: []byte(strconv.Itoa(i))})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("%s %d %d\n", name, r.Offset, i) // one write
	})
}

// TestKill: every message whose append returned is there after kill -9.
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
			var name, text string
			var offset uint64
			if _, err := fmt.Sscan(lines.Text(), &name, &offset, &text); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			if promised[name] == nil {
				promised[name] = make(map[uint64]string)
			}
			promised[name][offset] = text
			if n == 1000*(round+1) {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	s := open(t, Config{Dir: dir})
	found := 0
	for name, messages := range promised {
		u, err := s.Read(ctx, user(name), 0, 1<<30)
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
			t.Errorf("user %s lost %d messages", name, len(messages))
		}
	}
	t.Logf("%d messages", found)
}
