package trim

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

func TestDue(t *testing.T) {
	const mib = 1 << 20
	burst := heap{live: 8 * mib, allocated: 6 * mib, total: 100 * mib}
	grown := func(h heap, by uint64) heap { h.total += by; h.allocated += by; return h }
	for name, tt := range map[string]struct {
		samples []heap
		want    []bool
	}{
		"after a burst":      {[]heap{burst, burst, burst}, []bool{false, false, true}},
		"during a burst":     {[]heap{burst, grown(burst, mib), grown(burst, 2*mib), grown(burst, 3*mib)}, []bool{false, false, false, false}},
		"a little is quiet":  {[]heap{burst, grown(burst, mib/8), grown(burst, mib/4)}, []bool{false, false, true}},
		"a burst in between": {[]heap{burst, burst, grown(burst, mib), grown(burst, mib), grown(burst, mib)}, []bool{false, false, false, false, true}},
		"free spans":         {[]heap{{live: mib, free: 3 * mib}, {live: mib, free: 3 * mib}}, []bool{false, true}},
		"too little":         {[]heap{{allocated: mib - 1}, {allocated: mib - 1}, {allocated: mib - 1}}, []bool{false, false, false}},
		"little of much":     {[]heap{{live: 64 * mib, allocated: 3 * mib}, {live: 64 * mib, allocated: 3 * mib}, {live: 64 * mib, allocated: 3 * mib}}, []bool{false, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var s state
			for i, h := range tt.samples {
				if got := s.due(h); got != tt.want[i] {
					t.Errorf("sample %d, %+v: due %t", i, h, got)
				}
			}
		})
	}
}

// What a collection could not free is not a reason for the next one.
func TestCollectionsDoNotRepeat(t *testing.T) {
	const mib = 1 << 20
	kept := heap{live: 2 * mib, free: 4 * mib}
	tick, ctx, read, n := make(chan time.Time), t.Context(), func() heap { return kept }, 0
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx, tick, read, func() { n++ })
	}()
	for range 20 {
		tick <- time.Time{}
	}
	cancel()
	<-done
	if n != 1 {
		t.Errorf("%d collections, want 1", n)
	}
}

var sink []byte

// The runtime's own figures: garbage is waste until it is collected.
func TestRead(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	r := newReader()
	debug.FreeOSMemory()
	before := r.read()
	const size = 8 << 20
	for range 8 {
		sink = make([]byte, size/8)
	}
	sink = nil
	after := r.read()
	if grown := int64(after.waste()) - int64(before.waste()); grown < size*3/4 {
		t.Errorf("%d bytes of garbage raise the waste by %d", size, grown)
	}
	if after.total-before.total < size {
		t.Errorf("the total grows by %d", after.total-before.total)
	}
	debug.FreeOSMemory()
	if left := r.read().waste(); left > after.waste()/2 {
		t.Errorf("waste of %d after a collection, %d before", left, after.waste())
	}
	if n := testing.AllocsPerRun(10, func() { r.read() }); n > 0 {
		t.Errorf("%v allocations to read", n)
	}
}
