package messagehook

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	code := m.Run()
	if code != 0 {
		os.Exit(code)
	}
	var left []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if left = goroutines(); len(left) == 0 {
			os.Exit(0)
		}
	}
	fmt.Fprintf(os.Stderr, "goroutines left:\n\n%s\n", strings.Join(left, "\n\n"))
	os.Exit(1)
}

// permanent goroutines never end.
var permanent = []string{"testing.(*M).startAlarm", "internal/fuzz.", "testing.runFuzzing", "os/signal."}

// goroutines returns the stacks of all goroutines except this one and permanent ones.
func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i > 0 && !slices.ContainsFunc(permanent, func(p string) bool { return strings.Contains(stack, p) }) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
