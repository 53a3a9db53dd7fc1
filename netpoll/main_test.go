package netpoll

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// children are the functions that this binary runs instead of tests when a test starts
// it as another process.
var children = map[string]func() error{}

const childEnv = "NETPOLL_TEST_CHILD"

// TestMain fails if a test leaked a goroutine or a descriptor.
func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The runtime opens its own poller with the first socket, and keeps it.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
		os.Exit(code) // fuzzing has a goroutine for signals
	}
	// A goroutine that has returned may be counted for a moment longer.
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if runtime.NumGoroutine() <= goroutines && openDescriptors() <= descriptors {
			os.Exit(code)
		}
	}
	fmt.Fprintf(os.Stderr, "before the tests: %d goroutines, %d descriptors; after: %d, %d\n",
		goroutines, descriptors, runtime.NumGoroutine(), openDescriptors())
	pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	listDescriptors(os.Stderr)
	os.Exit(1)
}
