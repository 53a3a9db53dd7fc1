package bloom

import (
	"hash/maphash"
	"testing"
)

// TestFilter: a filter reports every hash that was added, also when it has grown, and few
// others.
func TestFilter(t *testing.T) {
	var f Filter
	f.Reset(0)
	seed := maphash.MakeSeed()
	hash := func(i int) uint64 { return maphash.Comparable(seed, i) }
	const n = 100_000
	for i := range n {
		f.Add(hash(i))
	}
	found := 0
	for i := range n {
		if !f.Has(hash(i)) {
			t.Fatalf("%d is missing", i)
		}
		if f.Has(hash(n + i)) {
			found++
		}
	}
	if layers := len(*f.layers.Load()); found > n/5 || layers < 2 {
		t.Errorf("%d of %d others are found, in %d layers", found, n, layers)
	}
}
