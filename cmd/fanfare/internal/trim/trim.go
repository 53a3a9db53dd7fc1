// Package trim returns memory to the operating system when a burst of work is over.
//
// Go's collector runs when the heap has doubled. A process that becomes idle after many
// sessions have connected keeps the garbage of their handshakes, because it allocates too
// little to start a collection: up to as much as everything that is in use.
package trim

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	interval = time.Second
	// quietSamples is how many intervals must be quiet one after another.
	quietSamples = 2
	// A collection is worth its time if it can free minWaste, and a part of what is in use.
	minWaste  = 1 << 20
	usedParts = 16
	// An interval is quiet if it allocates less than a part of the waste: so the waste of
	// steady work is collected at most every quietParts intervals.
	quietParts = 16
)

// heap is what the runtime knows of its heap at one time, in bytes.
type heap struct {
	live      uint64 // in use at the end of the last collection
	allocated uint64 // since then, whether or not it is still in use, and what has not been swept
	free      uint64 // not in use, and not returned
	total     uint64 // allocated since the start of the process
}

func (h heap) waste() uint64 { return h.allocated + h.free }

// state decides when to collect.
type state struct {
	total uint64 // of the last sample
	quiet int    // samples that were quiet, one after another
	kept  uint64 // of the waste after the last collection: another one would not free it
}

// due reports whether the memory is to be returned now.
func (s *state) due(h heap) bool {
	waste := h.waste() - min(h.waste(), s.kept)
	allocated := h.total - s.total
	s.total = h.total
	if waste < minWaste || waste < h.live/usedParts || allocated > waste/quietParts {
		s.quiet = 0
		return false
	}
	s.quiet++
	return s.quiet >= quietSamples
}

// collected notes what a collection has left.
func (s *state) collected(h heap) { s.quiet, s.kept, s.total = 0, h.waste(), h.total }

// Run returns memory until ctx ends.
func Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	run(ctx, ticker.C, newReader().read, debug.FreeOSMemory)
}

func run(ctx context.Context, tick <-chan time.Time, read func() heap, free func()) {
	s := state{total: read().total}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		if s.due(read()) {
			free()
			s.collected(read())
		}
	}
}

// reader reads the heap without an allocation.
type reader [4]metrics.Sample

func newReader() *reader {
	return &reader{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
}

func (r *reader) read() heap {
	metrics.Read(r[:])
	live, objects := r[0].Value.Uint64(), r[1].Value.Uint64()
	return heap{
		live:      live,
		allocated: objects - min(objects, live),
		free:      r[2].Value.Uint64(),
		total:     r[3].Value.Uint64(),
	}
}
