package attack

import (
	"context"
	"runtime"
	"sync"
	"time"

	"fanfare/bench/load"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// spareProcessors lets the others in this process run while the threads of machine sleep: in a system call each of them
// keeps one of the Go scheduler's processors until that takes it away, up to 10 ms later. Pushes were so late.
var spareProcessors = sync.OnceFunc(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + runtime.NumCPU()) })

// machine measures until ctx is done how late threads are woken that sleep for a millisecond, one on each
// processor: what anybody has to wait here, whoever is at fault (a hypervisor for one), without any server. In
// nanoseconds.
func machine(ctx context.Context) *hdrhistogram.Histogram {
	spareProcessors()
	var all sync.WaitGroup
	var mu sync.Mutex
	late := hdrhistogram.New(1000, 100e9, 3)
	for cpu := range runtime.NumCPU() {
		all.Go(func() {
			runtime.LockOSThread()
			// The thread must live on: processes that it has started would end with it (Pdeathsig).
			defer runtime.UnlockOSThread()
			var here, all unix.CPUSet
			unix.SchedGetaffinity(0, &all)
			here.Set(cpu)
			unix.SchedSetaffinity(0, &here)
			defer unix.SchedSetaffinity(0, &all)
			own := hdrhistogram.New(1000, 100e9, 3)
			for due := load.Now(); ctx.Err() == nil; {
				due += int64(time.Millisecond)
				ts := unix.NsecToTimespec(due)
				unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
				own.RecordValue(min(max(load.Now()-due, 1000), 100e9))
			}
			mu.Lock()
			late.Merge(own)
			mu.Unlock()
		})
	}
	all.Wait()
	return late
}
