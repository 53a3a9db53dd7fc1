package frame

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Buffers of 256 bytes to 64 KiB are pooled by powers of two; larger ones, which
// only an endpoint with a raised limit ever needs, are left to the garbage
// collector, and so is what the pools hold after a storm.
const (
	minClass = 8
	maxClass = 16
)

// A pool holds pointers to the first byte of its buffers: unlike a slice, a
// pointer goes into an interface without an allocation.
var buffers [maxClass - minClass + 1]sync.Pool

// newBuffer returns an empty buffer with room for n bytes at least.
func newBuffer(n int) []byte {
	if n > 1<<maxClass {
		return make([]byte, 0, n)
	}
	class := max(bits.Len(uint(n-1)), minClass)
	if p, ok := buffers[class-minClass].Get().(*byte); ok {
		return unsafe.Slice(p, 1<<class)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// freeBuffer gives b back. Nobody may hold a part of it any more.
func freeBuffer(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minClass || class > maxClass || cap(b) != 1<<class {
		return
	}
	buffers[class-minClass].Put(unsafe.SliceData(b))
}

// growBuffer makes room for n more bytes in b. It doubles, so that the copying
// stays linear in the bytes that arrived, but takes no more than most bytes,
// which is all that can come, as long as n fits into that.
func growBuffer(b []byte, n, most int) []byte {
	need := len(b) + n
	if need <= cap(b) {
		return b
	}
	grown := newBuffer(max(need, min(2*cap(b), most)))
	grown = append(grown, b...)
	freeBuffer(b)
	return grown
}
