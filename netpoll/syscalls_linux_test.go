package netpoll

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func init() {
	children["echo"] = echoChild
	children["echo with marks"] = func() error {
		markChildren = true
		return echoChild()
	}
	children["echo through a layer"] = func() error {
		secureChildren = true
		return echoChild()
	}
}

// echoChild echoes until its input ends.
func echoChild() error {
	e, addr, err := childEngine(slog.DiscardHandler)
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(addr)
	}
	return e.Close()
}

// The system calls that a message costs, counted by strace over the whole life of a
// process.
func TestSystemCallsPerEcho(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: it counts the system calls")
	}
	if err := exec.Command(strace, "-f", "-c", "-o", os.DevNull, "true").Run(); err != nil {
		t.Skipf("strace may not trace here: %v", err)
	}
	if raceEnabled {
		t.Skip("the race detector makes system calls of its own")
	}
	// With more than one P the runtime wakes a second thread, to look for work,
	// whenever the harvester wakes; that thread polls and sleeps again. So each sleep
	// costs a few futex calls, and slow clients cause many sleeps. No futex call is for
	// a message.
	for _, tt := range []struct {
		procs, child string
		pwait, futex float64 // at most, per echo
	}{
		{"1", "echo", 0.1, 0.01},
		{"2", "echo", 0.5, 0.05},
		{"1", "echo through a layer", 0.1, 0.01},
		{"1", "echo with marks", 0.1, 0.01},
	} {
		t.Run("GOMAXPROCS="+tt.procs+" "+tt.child, func(t *testing.T) {
			t.Setenv("GOMAXPROCS", tt.procs)
			const connections, rounds, echoes = 100, 200, 100 * 200
			counts := countSystemCalls(t, strace, tt.child, connections, rounds)
			for _, c := range []struct {
				call        string
				least, most float64
			}{
				{"recvfrom", echoes, 1.02 * echoes}, // 2 % more for the ends of the connections
				{"sendto", echoes, 1.02 * echoes},
				{"sendmsg", 0, 0},
				{"epoll_ctl", connections, connections + 50},
				{"ioctl", 0, connections + 50}, // one at each close, for unsent bytes
				{"accept4", connections / 64, 2*connections + 50},
				{"epoll_pwait", 1, tt.pwait * echoes},
				{"futex", 0, tt.futex * echoes},
			} {
				if n := counts[c.call]; n < c.least || n > c.most {
					t.Errorf("%s: %.0f calls for %d echoes on %d connections, want %.0f to %.0f", c.call, n, echoes, connections, c.least, c.most)
				}
			}
			t.Logf("per echo: recvfrom %.3f, sendto %.3f, epoll_pwait %.3f, futex %.4f; epoll_ctl %.0f in all",
				counts["recvfrom"]/echoes, counts["sendto"]/echoes, counts["epoll_pwait"]/echoes, counts["futex"]/echoes, counts["epoll_ctl"])
		})
	}
}

// countSystemCalls has a child echo and returns how often it made which call.
func countSystemCalls(t *testing.T, strace, child string, connections, rounds int) map[string]float64 {
	t.Helper()
	report := filepath.Join(t.TempDir(), "counts")
	ask, wait := startChild(t, child, Epoll, strace, "-f", "-c", "-o", report)
	r := &rig{TB: t, network: "tcp"}
	ask("addr", &r.addr)
	var clients sync.WaitGroup
	for range connections {
		nc := r.dial()
		nc.SetDeadline(time.Now().Add(2 * time.Minute)) // strace is slow
		clients.Go(func() {
			msg := make([]byte, 128)
			if child == "echo through a layer" {
				msg = new(frames).Seal(nil, msg)
			}
			for range rounds {
				nc.Write(msg)
				if _, err := io.ReadFull(nc, msg); err != nil {
					t.Error(err)
					return
				}
			}
			nc.Close()
		})
	}
	clients.Wait()
	if err := wait(); err != nil {
		t.Fatalf("strace: %v", err)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		// % time, seconds, usecs/call, calls, errors if any, name
		if f := strings.Fields(line); len(f) >= 5 {
			if n, err := strconv.Atoi(f[3]); err == nil {
				counts[f[len(f)-1]] = float64(n)
			}
		}
	}
	return counts
}
