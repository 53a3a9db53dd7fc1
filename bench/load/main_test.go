package load

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails if a test leaks goroutines or descriptors.
func TestMain(m *testing.M) {
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors()
	code := m.Run()
	if code == 0 {
		for range 1000 {
			if runtime.NumGoroutine() <= goroutines && countDescriptors() <= descriptors+2 {
				os.Exit(0) // two more are the runtime's own epoll and its eventfd
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Fprintf(os.Stderr, "leaked: goroutines %d, then %d; descriptors %d, then %d\n",
			goroutines, runtime.NumGoroutine(), descriptors, countDescriptors())
		code = 1
	}
	os.Exit(code)
}

func countDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
