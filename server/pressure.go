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
// above it belongs to queues, to messages under way and to the collector, which
// would else have to run all the time; and as much as many can want between two
// looks.
const refuseAbove = 0.8

// heldAbove is the part of the limit that all unfinished messages may take. Peers that
// leave theirs unfinished could take everything else, faster than the clock looks.
const heldAbove = 0.25

// Beyond that, what is known of a message that has not ended must be no more than a
// typical one; and while memory is short, no more than a segment brings, because many
// come in between two looks, and what they begin is to be had before they are refused.
// Theirs is the memory that comes back at once.
const (
	heldBeyond        = 4 << 10
	heldUnderPressure = 1 << 10
)

// errPressed is 1013, "try again later".
var errPressed = &frame.CloseError{Code: frame.StatusTryAgainLater, Reason: "the server is short of memory"}

// The limit is about total less released. What is free is at hand as well.
var pressureSamples = [...]string{"/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"}

// high looks at the memory in use, and returns what unfinished messages may have of it.
func (p *pressure) high() (high bool, mostHeld int64) {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return false, limit
	}
	for i, name := range pressureSamples {
		p.samples[i].Name = name
	}
	metrics.Read(p.samples[:])
	used := p.samples[0].Value.Uint64() - p.samples[1].Value.Uint64() - p.samples[2].Value.Uint64()
	return float64(used) > refuseAbove*float64(limit), int64(heldAbove * float64(limit))
}
