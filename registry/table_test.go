package registry

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

type named struct {
	name string
	hash uint64
}

func nameOf(n *named) string { return n.name }
func hashOf(n *named) uint64 { return n.hash }

// each calls f for all elements.
func (t *table[T]) each(f func(mark uint32, v T)) {
	for slot := range t.size() {
		if mark, v := t.at(slot); *mark != 0 {
			f(*mark, *v)
		}
	}
}

// check fails the test if the table is inconsistent.
func (t *table[T]) check(tb testing.TB, hashOf func(T) uint64) {
	tb.Helper()
	n := 0
	for slot := range t.size() {
		mark, v := t.at(slot)
		if *mark == 0 {
			continue
		}
		n++
		hash := uint32(hashOf(*v)) & hashMask
		home := t.home(hash)
		steps := (slot - home + t.size()) % t.size()
		if want := hash | uint32(steps+1)*oneStep; *mark&^chained != want {
			tb.Fatalf("slot %d of %d, home %d: mark %#x, want %#x", slot, t.size(), home, *mark, want)
		}
		before, _ := t.at((slot + t.size() - 1) % t.size())
		if *mark/oneStep > *before/oneStep+1 {
			tb.Fatalf("slot %d: distance %d follows %d", slot, *mark/oneStep, *before/oneStep)
		}
	}
	if n != t.len() {
		tb.Fatalf("%d elements, len says %d", n, t.len())
	}
	if n*8 > t.size()*7 {
		tb.Fatalf("too full: %d of %d slots", n, t.size())
	}
}

func TestTableAgainstMap(t *testing.T) {
	withoutRace(t)
	for _, test := range []struct {
		name string
		hash func(rng *rand.Rand) uint64
	}{
		{"random", func(rng *rand.Rand) uint64 { return rng.Uint64() }},
		{"one home, different hashes", func(rng *rand.Rand) uint64 { return rng.Uint64N(256) }},
		{"one hash", func(*rand.Rand) uint64 { return 0xdeadbeef }},
		{"last home, wraps around", func(rng *rand.Rand) uint64 { return hashMask - rng.Uint64N(2) }},
		{"seven homes", func(rng *rand.Rand) uint64 { return rng.Uint64N(7) << (hashBits - 3) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var tab table[*named]
			inMap := map[string]*named{}
			marked := map[*named]bool{}
			var all []*named
			for i := range 240 { // the distances of more elements with one hash do not fit in a mark
				all = append(all, &named{fmt.Sprint("n", i), test.hash(rng)})
			}
			for step := range 20_000 {
				v := all[rng.IntN(len(all))]
				slot := tab.find(nameOf, v.hash, v.name)
				if found := slot >= 0; found != (inMap[v.name] != nil) {
					t.Fatalf("step %d: find(%s) = %d, in the map: %v", step, v.name, slot, !found)
				}
				if slot >= 0 {
					mark, there := tab.at(slot)
					if *there != v || (*mark&chained != 0) != marked[v] {
						t.Fatalf("step %d: found %s, mark %#x; want %s, %v", step, (*there).name, *mark, v.name, marked[v])
					}
				}
				// Long phases, so that the table grows and shrinks.
				fill := step/2000%2 == 0
				switch {
				case slot < 0 && (fill || rng.IntN(8) == 0):
					tab.insert(v.hash, v)
					inMap[v.name] = v
				case slot >= 0 && (!fill || rng.IntN(8) == 0):
					tab.remove(slot)
					delete(inMap, v.name)
					delete(marked, v)
				case slot >= 0: // the flag must move with its element
					mark, _ := tab.at(slot)
					*mark |= chained
					marked[v] = true
				}
				if step%8 == 0 {
					tab.check(t, hashOf)
				}
			}
		})
	}
}

// When a distance does not fit in a mark the table grows and keeps all elements.
func TestTableOverflow(t *testing.T) {
	var tab table[*named]
	var all []*named
	for i := range 4000 {
		// All homes are in the first sixteenth of the table, so most elements are far from home.
		all = append(all, &named{fmt.Sprint("n", i), uint64(i * hashMask / 4000 / 16)})
	}
	for _, v := range all {
		tab.insert(v.hash, v)
	}
	tab.check(t, hashOf)
	for i := range 10 { // the table is sparse enough to shrink, and each time the elements do not fit
		tab.remove(tab.find(nameOf, all[i].hash, all[i].name))
	}
	tab.check(t, hashOf)
	for i, v := range all {
		slot := tab.find(nameOf, v.hash, v.name)
		if (slot >= 0) != (i >= 10) {
			t.Fatalf("find(%s) = %d", v.name, slot)
		}
	}
}

func TestTableSize(t *testing.T) {
	var tab table[*named]
	rng := rand.New(rand.NewPCG(3, 4))
	var all []*named
	for i := range 20_000 {
		all = append(all, &named{fmt.Sprint("n", i), rng.Uint64()})
	}
	within := func() {
		t.Helper()
		// The size is in whole groups, so one group more is allowed.
		if n, size := tab.len(), tab.size(); n*5 < (size-groupSlots)*3 || n*8 > size*7 {
			t.Fatalf("%d elements in %d slots, want between 6/10 and 7/8", n, size)
		}
	}
	for _, v := range all {
		tab.insert(v.hash, v)
		within()
	}
	tab.check(t, hashOf)
	for _, v := range all {
		tab.remove(tab.find(nameOf, v.hash, v.name))
		within()
	}
	if tab.size() != groupSlots {
		t.Fatalf("empty table with %d slots", tab.size())
	}
}
