package server

import (
	"net"
	"os"
	"testing"
	"time"

	"fanfare/internal/leak"
)

// TestMain fails the package if a goroutine or a descriptor is left when all
// servers are shut down.
func TestMain(m *testing.M) {
	// The runtime's own poller opens its descriptors with the first socket.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	before := openDescriptors()
	leak.Exit(m.Run(), 10*time.Second, func() []string {
		left := goroutines()
		for fd, what := range openDescriptors() {
			if before[fd] != what {
				left = append(left, fd+" is "+what)
			}
		}
		return left
	})
}

// permanent are goroutines that begin with the first use of a package and never
// end.
var permanent = []string{
	"fasthttp.updateServerDate",
	"testing.(*M).startAlarm",
	"os/signal.loop",
	"os/signal.signal_recv",
	"runtime.ensureSigM",
	"internal/fuzz.",
	"testing.runFuzzing",
}

// goroutines are the stacks of all but this one and the permanent ones.
func goroutines() []string { return leak.Goroutines(permanent...) }

// openDescriptors are the open ones, and what they are. On a system that does not
// tell there are none.
func openDescriptors() map[string]string {
	open := make(map[string]string)
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		// The descriptor of this very directory is gone by now.
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open[e.Name()] = what
		}
	}
	return open
}
