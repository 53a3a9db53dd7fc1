package client

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package if a goroutine is left at the end.
func TestMain(m *testing.M) {
	code := m.Run()
	if code != 0 {
		os.Exit(code)
	}
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if left = goroutines(); len(left) == 0 {
			os.Exit(0)
		}
	}
	fmt.Fprintf(os.Stderr, "leaked:\n\n%s\n", strings.Join(left, "\n\n"))
	os.Exit(1)
}

// goroutines are the stacks of all but this one, and those that a library starts once.
func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
next:
	for i, stack := range strings.Split(string(buf), "\n\n") {
		for _, permanent := range []string{"testing.(*M).startAlarm", "os/signal.", "runtime.ensureSigM"} {
			if strings.Contains(stack, permanent) {
				continue next
			}
		}
		if i > 0 {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
