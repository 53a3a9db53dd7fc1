package webhook

import (
	"context"
	"slices"
	"sync"
)

// memoryQueue is a queue in memory.
type memoryQueue struct {
	limit int64 // of bytes, for batches and dead letters each; immutable

	mu        sync.Mutex
	last      uint64              // position; guarded by mu
	stored    map[string][]stored // by webhook; guarded by mu
	bytes     int64               // of stored; guarded by mu
	dead      []letter            // guarded by mu
	deadBytes int64               // guarded by mu
}

type stored struct {
	at uint64
	b  batch
}

func newMemoryQueue(limit int64) *memoryQueue {
	return &memoryQueue{limit: limit, stored: make(map[string][]stored)}
}

// stored takes about this much more than its events.
const storedSize = 128

func (q *memoryQueue) add(_ context.Context, hook string, b *batch) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := int64(len(b.events)) + storedSize
	if q.bytes+n > q.limit {
		return errFull
	}
	q.last++
	q.bytes += n
	q.stored[hook] = append(q.stored[hook], stored{q.last, *b})
	return nil
}

func (q *memoryQueue) next(_ context.Context, hook string, after uint64) (at uint64, b batch, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.stored[hook]
	i, _ := slices.BinarySearchFunc(list, after+1, func(s stored, at uint64) int { return int(int64(s.at - at)) })
	if i == len(list) {
		return 0, batch{}, errEmpty
	}
	return list[i].at, list[i].b, nil
}

func (q *memoryQueue) remove(_ context.Context, hook string, upTo uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.stored[hook]
	n := 0
	for n < len(list) && list[n].at <= upTo {
		q.bytes -= int64(len(list[n].b.events)) + storedSize
		n++
	}
	if list = slices.Delete(list, 0, n); len(list) > 0 {
		q.stored[hook] = list
	} else {
		delete(q.stored, hook)
	}
	return nil
}

func (q *memoryQueue) hooks(context.Context) (all []string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for hook := range q.stored {
		all = append(all, hook)
	}
	return all, nil
}

func (q *memoryQueue) bury(_ context.Context, l *letter) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	buried := *l
	buried.At = q.last
	q.dead = append(q.dead, buried)
	q.deadBytes += int64(len(l.Events)) + storedSize
	for q.deadBytes > q.limit {
		q.deleteDeadLocked(0)
	}
	return nil
}

func (q *memoryQueue) deleteDeadLocked(i int) {
	q.deadBytes -= int64(len(q.dead[i].Events)) + storedSize
	q.dead = slices.Delete(q.dead, i, i+1)
}

func (q *memoryQueue) letter(_ context.Context, after uint64) (l letter, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.dead {
		if l.At > after {
			return l, nil
		}
	}
	return letter{}, errEmpty
}

func (q *memoryQueue) exhume(_ context.Context, at uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.IndexFunc(q.dead, func(l letter) bool { return l.At == at }); i >= 0 {
		q.deleteDeadLocked(i)
	}
	return nil
}

func (q *memoryQueue) usage(context.Context) (u usage, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, list := range q.stored {
		u.batches += int64(len(list))
	}
	u.bytes, u.dead = q.bytes, int64(len(q.dead))
	return u, nil
}

func (q *memoryQueue) close() {}
