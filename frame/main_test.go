package frame

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails if goroutines are left: this package starts none.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzer leaves goroutines
	}
	after := runtime.NumGoroutine()
	for end := time.Now().Add(5 * time.Second); after > before && time.Now().Before(end); {
		runtime.Gosched() // the goroutine of a test that has finished may not have ended yet
		after = runtime.NumGoroutine()
	}
	if code == 0 && after > before {
		buf := make([]byte, 1<<20)
		fmt.Printf("%d goroutines before the tests, %d after\n%s", before, after, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}
