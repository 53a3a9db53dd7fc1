package attack

import (
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// Real-time priorities, sched(7), used where the system allows them: they keep out other work on the machine. Healthy
// clients run before the servers, so that they measure the server and not their own wait for a processor. The twin runs
// before the attacked server, so that it measures the host and not its neighbour.
const (
	attackedPriority = 10
	twinPriority     = 15
	healthyPriority  = 20
)

// Prioritize executes this program again as a real-time process. It returns if the program is one already, or may not
// become one.
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

// Prioritized reports whether this is a real-time process.
func Prioritized() bool {
	attr, err := unix.SchedGetAttr(0, 0)
	return err == nil && attr.Policy == unix.SCHED_RR
}

// asServer returns the arguments that run a server with a priority.
func asServer(priority int) []string {
	if Prioritized() {
		return []string{"chrt", "--rr", strconv.Itoa(priority)}
	}
	return nil
}

// asAttacker returns the arguments that run attackers at the lowest priority.
func asAttacker() []string {
	nice := []string{"nice", "-n", "19"}
	if Prioritized() {
		return append([]string{"chrt", "--other", "0"}, nice...)
	}
	return nice
}
