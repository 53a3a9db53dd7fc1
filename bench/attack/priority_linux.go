package attack

import (
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// Priorities, sched(7). Where it is allowed, server and healthy run as real-time processes, so that what else
// the machine does is not what is measured; and the healthy go before the server, so that what they measure
// is the server and not their own wait for a processor.
const (
	serverPriority  = 10
	healthyPriority = 20
)

// Prioritize makes this program, with its arguments, a real-time process if it is none and may be one. It
// returns if it is, or may not.
func Prioritize() {
	if Prioritized() {
		return
	}
	chrt, err := exec.LookPath("chrt")
	if err != nil || exec.Command(chrt, "--rr", strconv.Itoa(healthyPriority), "true").Run() != nil {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	unix.Exec(chrt, append([]string{chrt, "--rr", strconv.Itoa(healthyPriority), self}, os.Args[1:]...), os.Environ())
}

// Prioritized tells whether this is a real-time process.
func Prioritized() bool {
	attr, err := unix.SchedGetAttr(0, 0)
	return err == nil && attr.Policy == unix.SCHED_RR
}

// asServer and asAttacker are what stands before the command of each.
func asServer() []string {
	if Prioritized() {
		return []string{"chrt", "--rr", strconv.Itoa(serverPriority)}
	}
	return nil
}

func asAttacker() []string {
	nice := []string{"nice", "-n", "19"}
	if Prioritized() {
		return append([]string{"chrt", "--other", "0"}, nice...)
	}
	return nice
}
