package limit

import (
	"slices"
	"sync"
	"testing"
)

func TestPool(t *testing.T) {
	var wg sync.WaitGroup
	goroutines := 0
	p := NewPool(2, func(fn func()) { goroutines++; wg.Go(fn) })
	started := make(chan int)
	proceed := make(chan struct{})
	job := func(i int) func() {
		return func() {
			started <- i
			<-proceed
		}
	}
	p.Go(job(0))
	p.Go(job(1))
	var waiting []*Job
	for i := range 4 {
		waiting = append(waiting, p.Go(job(2+i)))
	}
	if first := []int{<-started, <-started}; !slices.Contains(first, 0) || !slices.Contains(first, 1) {
		t.Errorf("%v started first", first)
	}
	if r, w := p.Load(); r != 2 || w != 4 || goroutines != 2 {
		t.Errorf("%d run on %d goroutines, %d wait; want 2, 2, 4", r, goroutines, w)
	}
	if !waiting[1].Cancel() || waiting[1].Cancel() {
		t.Error("a function that waits is not canceled once")
	}
	for _, want := range []int{2, 4, 5} { // in order, without 3
		proceed <- struct{}{}
		if got := <-started; got != want {
			t.Errorf("%d started, want %d", got, want)
		}
	}
	if waiting[0].Cancel() {
		t.Error("a function that has run was canceled")
	}
	proceed <- struct{}{}
	proceed <- struct{}{}
	wg.Wait()
	if r, w := p.Load(); r != 0 || w != 0 || goroutines != 2 {
		t.Errorf("%d run, %d wait, %d goroutines were started", r, w, goroutines)
	}
	p.Go(func() {}) // the places are free again
	wg.Wait()
	if goroutines != 3 {
		t.Errorf("%d goroutines were started, want 3", goroutines)
	}
}
