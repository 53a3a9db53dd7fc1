package connecthook

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain checks that the tests leave no goroutine.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	after := runtime.NumGoroutine()
	for deadline := time.Now().Add(patience); after > before && time.Now().Before(deadline); after = runtime.NumGoroutine() {
		time.Sleep(10 * time.Millisecond)
	}
	if code == 0 && after > before {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines are left:\n%s\n", after-before, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}
