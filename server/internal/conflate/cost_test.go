package conflate

import (
	"runtime"
	"testing"
	"time"
	"unique"

	"fanfare/netpoll"
)

// A slot costs at most SlotCost, with its share of the maps, which may have grown just now.
func TestSlotCost(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	for _, names := range []int{1, 10} {
		table := newTable(1 << 20)
		table.cfg.Write = func(*session, string) netpoll.Outcome { return netpoll.Written }
		keys := make([]netpoll.Key, names)
		for i := range keys {
			keys[i] = unique.Make(string(rune('a' + i)))
		}
		sessions := make([]session, 60_000/names)
		used := func() uint64 {
			runtime.GC()
			var st runtime.MemStats
			runtime.ReadMemStats(&st)
			return st.HeapAlloc
		}
		before := used()
		for i := range sessions {
			sessions[i].id = uint64(i)
			for _, k := range keys {
				table.Offer(&sessions[i], k, "x", time.Second, 0)
			}
		}
		each := (used() - before) / uint64(table.Len())
		t.Logf("%d bytes per slot, %d names per session", each, names)
		if each > SlotCost {
			t.Errorf("%d bytes per slot of a session with %d names: want at most %d", each, names, SlotCost)
		}
		table.Step(time.Second)
		if n := table.Len(); n != 0 {
			t.Errorf("%d slots are left", n)
		}
		runtime.KeepAlive(sessions)
	}
}

// A message that comes while the session has a slot for its name allocates nothing, whether it
// waits, replaces one, or is sent. A Step allocates what it takes to run in parallel.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 200 // fewer than what Step uses several goroutines for
	table, sessions := newTable(1<<20), make([]session, n)
	sent := 0
	table.cfg.Write = func(*session, string) netpoll.Outcome { sent++; return netpoll.Written }
	name, now := unique.Make("a"), time.Duration(0)
	round := func() {
		for i := range sessions {
			sessions[i].id = uint64(i)
			for range 3 {
				table.Offer(&sessions[i], name, "x", time.Second, now)
			}
		}
		now += time.Second
		table.Step(now)
	}
	round()
	round()
	allocs := testing.AllocsPerRun(10, round)
	if allocs > 8 || sent != 14*n {
		t.Errorf("%v allocations for %d messages", allocs, sent)
	}
}
