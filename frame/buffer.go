package frame

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Buffers of 256 bytes to 64 KiB are pooled, in classes that are powers of two. Larger ones exist only
// where MaxMessage was raised, and are left to the garbage collector, which also shrinks the pools.
const (
	minClass = 8
	maxClass = 16
)

// The pools hold pointers to the first byte of a buffer: unlike a slice, a pointer is converted to an
// interface without an allocation.
var buffers [maxClass - minClass + 1]sync.Pool

// newBuffer returns an empty buffer with a capacity of at least n bytes.
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

// freeBuffer returns b to its pool. There must be no other reference to its memory.
func freeBuffer(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minClass || class > maxClass || cap(b) != 1<<class {
		return
	}
	buffers[class-minClass].Put(unsafe.SliceData(b))
}

// growBuffer makes room for n more bytes in b. It doubles the capacity, so that the work of copying stays
// linear in the bytes that arrive, up to most bytes, unless n needs more.
func growBuffer(b []byte, n, most int) []byte {
	need := len(b) + n
	if need <= cap(b) {
		return b
	}
	grown := newBuffer(max(need, doubled(cap(b), most)))
	grown = append(grown, b...)
	freeBuffer(b)
	return grown
}

// doubled returns twice n, or most if that is less. The product may exceed an int of 32 bits.
func doubled(n, most int) int {
	if n > most/2 {
		return most
	}
	return 2 * n
}
