package api

import "runtime"

// cpuSlots bound the CPU that long bodies and batches take to check, parse and copy. There
// is one slot less than processors, so that one is left to short requests and to sessions.
// A holder must not wait for the network.
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
