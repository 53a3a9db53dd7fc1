package api

import "runtime"

// cpuSlots bounds how many long bodies and batches are checked, parsed and copied at a time.
// It has one slot less than there are processors, which leaves one to short requests and to
// sessions. A holder must not wait for the network.
type cpuSlots chan struct{}

func newCPUSlots() cpuSlots { return make(cpuSlots, max(1, runtime.GOMAXPROCS(0)-1)) }

// acquire waits for a CPU slot, to work on n bytes.
func (s cpuSlots) acquire(n int) {
	if n >= stretch {
		runtime.Gosched() // see conn.Read
	}
	s <- struct{}{}
}

func (s cpuSlots) release() { <-s }
