package cluster

import "testing"

func TestQueue(t *testing.T) {
	q := newQueue[int](3, 100)
	for i, test := range []struct {
		size  int
		force bool
		want  bool
	}{
		{1000, false, true}, // an empty queue takes what exceeds the bound
		{1, false, false},
		{1, true, true},
		{1, true, true},
		{1, false, false},
	} {
		if got := q.put(i, test.size, test.force); got != test.want {
			t.Errorf("put %d: %v", i, got)
		}
	}
	for _, want := range []int{0, 2, 3} {
		if got, ok := q.take(); !ok || got != want {
			t.Errorf("got %d, %v, want %d", got, ok, want)
		}
	}
	if _, ok := q.take(); ok {
		t.Error("the queue is not empty")
	}
	if n, bytes := q.size(); n != 0 || bytes != 0 {
		t.Errorf("%d items of %d bytes", n, bytes)
	}
	for range 3 {
		q.put(0, 1, false)
	}
	if q.put(0, 1, false) {
		t.Error("a fourth item is accepted")
	}
}

// TestQueueOrder: items come out in order while the queue moves, and its memory
// does not grow with their number.
func TestQueueOrder(t *testing.T) {
	q := newQueue[int](1000, 1<<30)
	next := 0
	for i := range 100_000 {
		if !q.put(i, 1, false) {
			t.Fatal("full")
		}
		if i%3 != 0 || i < 300 {
			continue
		}
		for range 3 {
			if got, ok := q.take(); !ok || got != next {
				t.Fatalf("got %d, %v, want %d", got, ok, next)
			}
			next++
		}
	}
	if cap(q.items) > 4000 {
		t.Errorf("%d items are allocated", cap(q.items))
	}
	n := 0
	q.peek(2, func(v int) {
		if v != next+n {
			t.Errorf("peek gives %d", v)
		}
		n++
	})
	if n != 2 {
		t.Errorf("peek gives %d items", n)
	}
}
