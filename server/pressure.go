package server

import (
	"math"
	"runtime/debug"
	"runtime/metrics"

	"fanfare/frame"
)

// pressure tells whether the process is so near its memory limit (GOMEMLIMIT)
// that new connections are refused with 503: those that are connected need the
// rest, and a process that is killed loses them all.
type pressure struct {
	samples [len(pressureSamples)]metrics.Sample
}

// refuseAbove is the part of the limit that is left to connections: what is
// above it belongs to queues, to messages under way and to the collector.
const refuseAbove = 0.9

// While memory is short, what is known of a message that has not ended must be
// no more than a typical one. Peers that leave long ones unfinished would take the
// rest too, and turn by turn; theirs is the memory that comes back at once.
const heldUnderPressure = 4 << 10

// errPressed is 1013, "try again later".
var errPressed = &frame.CloseError{Code: 1013, Reason: "the server is short of memory"}

// The limit is about total less released. What is free is at hand as well.
var pressureSamples = [...]string{"/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"}

// high looks at the memory in use.
func (p *pressure) high() bool {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return false
	}
	for i, name := range pressureSamples {
		p.samples[i].Name = name
	}
	metrics.Read(p.samples[:])
	used := p.samples[0].Value.Uint64() - p.samples[1].Value.Uint64() - p.samples[2].Value.Uint64()
	return float64(used) > refuseAbove*float64(limit)
}
