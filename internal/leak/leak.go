// Package leak fails a package whose tests leave goroutines running. Only tests import it.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Main runs the tests of a package and exits. The package fails if its tests pass but leave a
// goroutine that does not end within a time, unless it is permanent as Goroutines says.
func Main(m *testing.M, within time.Duration, permanent ...string) {
	Exit(m.Run(), within, func() []string { return Goroutines(permanent...) })
}

// Exit is what Main does after the tests, of which code is the result. It calls left until
// that names nothing any more, and exits with code 1 if this takes longer than within.
func Exit(code int, within time.Duration, left func() []string) {
	if code != 0 {
		os.Exit(code)
	}
	all := left()
	for deadline := time.Now().Add(within); len(all) > 0 && time.Now().Before(deadline); all = left() {
		time.Sleep(time.Millisecond)
	}
	if len(all) > 0 {
		fmt.Fprintf(os.Stderr, "leaked:\n\n%s\n", strings.Join(all, "\n\n"))
		os.Exit(1)
	}
	os.Exit(0)
}

// Goroutines returns the stacks of all goroutines except the calling one and permanent ones:
// those whose stack contains one of these texts, because a library starts them once and never
// ends them.
func Goroutines(permanent ...string) (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, stack := range strings.Split(string(buf), "\n\n")[1:] { // the first is the calling one
		if !slices.ContainsFunc(permanent, func(p string) bool { return strings.Contains(stack, p) }) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
