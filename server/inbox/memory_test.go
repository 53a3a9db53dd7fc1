package inbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"fanfare/server/store"
)

// idle opens a store and prints what the process took of memory before and then.
func idle(dir string) {
	before := rss()
	s, err := Open(ctx, Config{Dir: dir, Logger: quiet})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if _, err := add(s, user("u"), store.Entry{Payload: []byte("x")}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	debug.FreeOSMemory()
	fmt.Println(before, rss())
	s.Close()
}

// TestIdleMemory: an idle store adds at most 60 MiB to a process.
func TestIdleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc to read it from")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), idleEnv+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var before, after int
	lines := bufio.NewScanner(out)
	lines.Scan()
	if _, err := fmt.Sscan(lines.Text(), &before, &after); err != nil {
		t.Errorf("%q: %v", lines.Text(), err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if raceEnabled {
		t.Skip("the race detector needs memory")
	}
	t.Logf("%.1f MiB", float64(after-before)/(1<<20))
	if after-before > 60<<20 {
		t.Errorf("an idle store takes %d MiB", (after-before)>>20)
	}
}

// rss of this process in bytes.
func rss() int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		panic(err)
	}
	return pages * os.Getpagesize()
}
