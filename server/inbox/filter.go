package inbox

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// filter is a set of hashes that may contain more than was added, but never less:
// a Bloom filter that grows. An embedded store, which knows every append, asks it
// whether a user may have messages at all: for most users who log in the answer is no,
// and costs nothing.
type filter struct {
	layers atomic.Pointer[[]*filterLayer]
	mu     sync.Mutex // one goroutine adds
}

// filterLayer has eight bits for each hash that it is made for, of which four are
// set: one in 40 of other hashes is taken for one of these.
type filterLayer struct {
	words []atomic.Uint64
	left  int // guarded by filter.mu
}

const (
	filterBits  = 4
	filterFirst = 1 << 14 // hashes of the first layer, 16 KiB
)

func newFilterLayer(hashes int) *filterLayer {
	words := 1 << bits.Len(uint(hashes*8/64-1))
	return &filterLayer{words: make([]atomic.Uint64, words), left: words * 64 / 8}
}

// reset empties the filter and makes room.
func (f *filter) reset(hashes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.layers.Store(&[]*filterLayer{newFilterLayer(max(2*hashes, filterFirst))})
}

func (l *filterLayer) has(h uint64) bool {
	for range filterBits {
		if l.words[h/64%uint64(len(l.words))].Load()&(1<<(h%64)) == 0 {
			return false
		}
		h = bits.RotateLeft64(h, 17) * 0x9e3779b97f4a7c15
	}
	return true
}

func (f *filter) has(h uint64) bool {
	layers := f.layers.Load()
	if layers == nil {
		return true
	}
	for _, l := range *layers {
		if l.has(h) {
			return true
		}
	}
	return false
}

func (f *filter) add(h uint64) {
	if f.has(h) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	layers := *f.layers.Load()
	l := layers[len(layers)-1]
	if l.left == 0 {
		l = newFilterLayer(2 * len(l.words) * 64 / 8)
		layers = append(layers[:len(layers):len(layers)], l)
		f.layers.Store(&layers)
	}
	l.left--
	for range filterBits {
		l.words[h/64%uint64(len(l.words))].Or(1 << (h % 64))
		h = bits.RotateLeft64(h, 17) * 0x9e3779b97f4a7c15
	}
}
