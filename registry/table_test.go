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

var namedKeys = keys[*named]{
	name: func(n *named) string { return n.name },
	hash: func(n *named) uint64 { return n.hash },
}

// check fails the test if the table breaks one of its own rules.
func (t *table[T]) check(tb testing.TB, k *keys[T]) {
	tb.Helper()
	if len(t.slots) != len(t.marks) {
		tb.Fatalf("%d slots, %d marks", len(t.slots), len(t.marks))
	}
	n := 0
	for i, mark := range t.marks {
		if mark == 0 {
			continue
		}
		n++
		home, want := t.home(k.hash(t.slots[i]))
		want += uint32((i-home+len(t.slots))%len(t.slots)) * near
		if uint32(mark) != want {
			tb.Fatalf("slot %d of %d, home %d: mark %#x, want %#x", i, len(t.slots), home, mark, want)
		}
		before := t.marks[(i+len(t.slots)-1)%len(t.slots)]
		if mark>>8 > before>>8+1 {
			tb.Fatalf("slot %d: distance %d follows %d", i, mark>>8, before>>8)
		}
	}
	if n != t.len() {
		tb.Fatalf("%d elements, len says %d", n, t.len())
	}
	if n*8 > len(t.slots)*7 {
		tb.Fatalf("too full: %d of %d slots", n, len(t.slots))
	}
}

func TestTableAgainstMap(t *testing.T) {
	for _, test := range []struct {
		name string
		hash func(rng *rand.Rand) uint64
	}{
		{"random", func(rng *rand.Rand) uint64 { return rng.Uint64() }},
		{"one home, marks differ", func(rng *rand.Rand) uint64 { return rng.Uint64() & 0xff }},
		{"one hash", func(*rand.Rand) uint64 { return 0xdeadbeef }},
		{"last home, wraps around", func(rng *rand.Rand) uint64 { return 1<<56 - 1<<8 | rng.Uint64N(2) }},
		{"seven homes", func(rng *rand.Rand) uint64 { return rng.Uint64N(7) << 53 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var tab table[*named]
			here := map[string]*named{}
			var all []*named
			for i := range 240 { // more of one hash would not fit into a mark
				all = append(all, &named{fmt.Sprint("n", i), test.hash(rng)})
			}
			for step := range 20_000 {
				v := all[rng.IntN(len(all))]
				slot := tab.find(&namedKeys, v.hash, v.name)
				if found := slot >= 0; found != (here[v.name] != nil) {
					t.Fatalf("step %d: find(%s) = %d, in the map: %v", step, v.name, slot, !found)
				}
				// Long waves, so that the table grows and shrinks.
				fill := step/2000%2 == 0
				switch {
				case slot < 0 && (fill || rng.IntN(8) == 0):
					tab.insert(&namedKeys, v.hash, v)
					here[v.name] = v
				case slot >= 0 && (!fill || rng.IntN(8) == 0):
					if tab.slots[slot] != v {
						t.Fatalf("step %d: found %s, want %s", step, tab.slots[slot].name, v.name)
					}
					tab.remove(&namedKeys, slot)
					delete(here, v.name)
				}
				tab.check(t, &namedKeys)
			}
		})
	}
}

// More elements in a row than a mark can count: the table must make room instead of losing one.
func TestTableOverflow(t *testing.T) {
	var tab table[*named]
	var all []*named
	for i := range 4000 {
		// 300 homes' worth of elements in one sixteenth of the table, all in order.
		all = append(all, &named{fmt.Sprint("n", i), uint64(i) << 40})
	}
	for _, v := range all {
		tab.insert(&namedKeys, v.hash, v)
	}
	tab.check(t, &namedKeys)
	for _, v := range all {
		if slot := tab.find(&namedKeys, v.hash, v.name); slot < 0 || tab.slots[slot] != v {
			t.Fatalf("%s is lost", v.name)
		}
	}
}

func TestTableSize(t *testing.T) {
	var tab table[*named]
	rng := rand.New(rand.NewPCG(3, 4))
	var all []*named
	for i := range 100_000 {
		all = append(all, &named{fmt.Sprint("n", i), rng.Uint64()})
	}
	within := func() {
		t.Helper()
		if n, size := tab.len(), len(tab.slots); size > minSlots && (n*2 < size || n*8 > size*7) {
			t.Fatalf("%d elements in %d slots, want between 1/2 and 7/8", n, size)
		}
	}
	for _, v := range all {
		tab.insert(&namedKeys, v.hash, v)
		within()
	}
	tab.check(t, &namedKeys)
	for _, v := range all {
		tab.remove(&namedKeys, tab.find(&namedKeys, v.hash, v.name))
		within()
	}
	if len(tab.slots) != minSlots {
		t.Fatalf("empty, but %d slots", len(tab.slots))
	}
}
