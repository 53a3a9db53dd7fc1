package frame

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// TestMain fails if a test left a goroutine behind: this package starts none.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if after := runtime.NumGoroutine(); code == 0 && after > before {
		buf := make([]byte, 1<<20)
		fmt.Printf("%d goroutines before the tests, %d after\n%s", before, after, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}
