package cluster

import "sync"

// queue is a bounded FIFO between goroutines. Neither end waits: put reports
// false when the queue is full, and ready wakes the goroutine that takes.
type queue[T any] struct {
	maxItems, maxBytes int
	ready              chan struct{}

	mu    sync.Mutex
	items []item[T] // from head on; guarded by mu
	head  int       // guarded by mu
	bytes int       // guarded by mu
}

type item[T any] struct {
	v    T
	size int
}

func newQueue[T any](maxItems, maxBytes int) *queue[T] {
	return &queue[T]{maxItems: maxItems, maxBytes: maxBytes, ready: make(chan struct{}, 1)}
}

// put appends an item. One that is larger than the bound is accepted by an empty
// queue; force ignores the bounds.
func (q *queue[T]) put(v T, size int, force bool) bool {
	q.mu.Lock()
	n := len(q.items) - q.head
	if !force && n > 0 && (n >= q.maxItems || q.bytes+size > q.maxBytes) {
		q.mu.Unlock()
		return false
	}
	if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item[T]{v, size})
	q.bytes += size
	q.mu.Unlock()
	q.wake()
	return true
}

func (q *queue[T]) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take removes the first item.
func (q *queue[T]) take() (v T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.items) {
		if cap(q.items) > 1024 { // after a burst
			q.items = nil
		}
		q.items, q.head = q.items[:0], 0
		return v, false
	}
	it := q.items[q.head]
	q.items[q.head] = item[T]{}
	q.head++
	q.bytes -= it.size
	return it.v, true
}

// peek calls f with the first n items.
func (q *queue[T]) peek(n int, f func(T)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.items[q.head:min(q.head+n, len(q.items))] {
		f(it.v)
	}
}

// size returns the number of items and their bytes.
func (q *queue[T]) size() (n, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) - q.head, q.bytes
}
