package netpoll

import "sync/atomic"

// batchSize bounds the connections of one harvest. 256 small messages are about 2 ms of
// work, the longest that a new event should wait for the batch before it.
const batchSize = 256

// batch is a harvest that several workers empty together. One word holds its number
// (upper 32 bits), its length and the index of the next item (16 bits each), so a claim
// is one compare-and-swap, and a worker that slept through a whole batch cannot take an
// item out of the next one by mistake.
//
// Only the worker that holds the right to harvest may call publish, and only when the
// batch is empty.
type batch struct {
	word  atomic.Uint64
	items [batchSize]atomic.Pointer[Conn]
}

func unpack(word uint64) (length, next int) {
	return int(word >> 16 & 0xffff), int(word & 0xffff)
}

func (b *batch) publish(n int) {
	number := b.word.Load()>>32 + 1
	b.word.Store(number<<32 | uint64(n)<<16)
}

// claim takes the next connection. It returns nil when the batch is empty.
func (b *batch) claim() *Conn {
	for {
		word := b.word.Load()
		length, next := unpack(word)
		if next == length {
			return nil
		}
		c := b.items[next].Load()
		if b.word.CompareAndSwap(word, word+1) {
			return c
		}
	}
}

// left returns the number of unclaimed connections.
func (b *batch) left() int {
	length, next := unpack(b.word.Load())
	return length - next
}
