// Package bloom is a set of hashes that grows and needs about a byte for each of them: a
// Bloom filter. An embedded store asks it whether a user may have messages at all: for most
// users who log in the answer is no, and costs nothing.
package bloom

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Filter is a set of hashes that may report hashes that were not added, but reports every
// hash that was. Before Reset it reports all hashes. Has takes no lock.
type Filter struct {
	layers atomic.Pointer[[]*layer]
	mu     sync.Mutex // one goroutine adds
}

// layer has eight bits for each hash that it is made for, of which four are set: it
// reports one in 40 of other hashes.
type layer struct {
	words []atomic.Uint64
	left  int // guarded by Filter.mu
}

const (
	bitsPerHash = 4
	firstLayer  = 1 << 14 // hashes of the first layer, 16 KiB
)

func newLayer(hashes int) *layer {
	words := 1 << bits.Len(uint(hashes*8/64-1))
	return &layer{words: make([]atomic.Uint64, words), left: words * 64 / 8}
}

// Reset empties the filter and makes room for twice as many hashes.
func (f *Filter) Reset(hashes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.layers.Store(&[]*layer{newLayer(max(2*hashes, firstLayer))})
}

func (l *layer) has(h uint64) bool {
	for range bitsPerHash {
		if l.words[h/64%uint64(len(l.words))].Load()&(1<<(h%64)) == 0 {
			return false
		}
		h = bits.RotateLeft64(h, 17) * 0x9e3779b97f4a7c15
	}
	return true
}

// Has reports whether h may have been added.
func (f *Filter) Has(h uint64) bool {
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

// Add adds a hash.
func (f *Filter) Add(h uint64) {
	if f.Has(h) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	layers := *f.layers.Load()
	l := layers[len(layers)-1]
	if l.left == 0 {
		l = newLayer(2 * len(l.words) * 64 / 8)
		layers = append(layers[:len(layers):len(layers)], l)
		f.layers.Store(&layers)
	}
	l.left--
	for range bitsPerHash {
		l.words[h/64%uint64(len(l.words))].Or(1 << (h % 64))
		h = bits.RotateLeft64(h, 17) * 0x9e3779b97f4a7c15
	}
}
