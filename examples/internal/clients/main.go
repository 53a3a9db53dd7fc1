package clients

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main is the TestMain of the examples: it fails if a test leaks a goroutine or a
// descriptor.
func Main(m *testing.M) {
	before := Descriptors()
	code := m.Run()
	uninstall()
	http.DefaultClient.CloseIdleConnections()
	var left []string
	for end := time.Now().Add(patience); code == 0; time.Sleep(10 * time.Millisecond) {
		left = goroutines()
		for fd, what := range Descriptors() {
			// The runtime opens its own poller with the first socket.
			if before[fd] != what && !strings.HasPrefix(what, "anon_inode:") {
				left = append(left, "descriptor "+fd+" is "+what)
			}
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "leaked:\n\n%s\n", strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// Descriptors returns the open descriptors of this process and what they refer to. It
// returns none on systems without /proc.
func Descriptors() map[string]string {
	const dir = "/proc/self/fd"
	open := make(map[string]string)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if what, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil { // else it was the directory's
			open[e.Name()] = what
		}
	}
	return open
}

// Sockets counts the descriptors that are sockets. It skips the test where that
// cannot be known.
func Sockets(t testing.TB) (n int) {
	t.Helper()
	open := Descriptors()
	if len(open) == 0 {
		t.Skip("this system has no /proc/self/fd")
	}
	for _, what := range open {
		if strings.HasPrefix(what, "socket:") {
			n++
		}
	}
	return n
}

// goroutines returns the stacks of all goroutines except this one and those that libraries
// never end.
func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, stack := range strings.Split(string(buf), "\n\n")[1:] {
		if !strings.Contains(stack, "fasthttp.updateServerDate") && !strings.Contains(stack, "os/signal.") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// Eventually waits for what follows soon.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
