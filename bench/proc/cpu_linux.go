package proc

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the processor time, user and system, that all threads of the process have used so far.
//
// It reads the process's CPU-time clock: the scheduler's own sum of run time, precise to the nanosecond and
// with the threads that have ended, where /proc/PID/stat counts ticks of 10 ms.
func CPU(pid int) (time.Duration, error) {
	// clock_getcpuclockid(3): the complement of the process number, shifted by three, and CPUCLOCK_SCHED.
	clock := int32(^pid<<3 | 2)
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("proc: CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
