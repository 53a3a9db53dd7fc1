package fanout

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

func TestCount(t *testing.T) {
	for _, n := range []int{0, 1, Portion - 1, Portion, Portion + 1, MinParallel, 10 * MinParallel} {
		calls := make([]atomic.Int32, n)
		to := make([]int, n)
		for i := range to {
			to[i] = i
		}
		for name, count := range map[string]func([]int, func(int) bool) int{"Count": Count[int], "CountParallel": CountParallel[int]} {
			got := count(to, func(i int) bool {
				calls[i].Add(1)
				return i%3 == 0
			})
			if want := (n + 2) / 3; got != want {
				t.Errorf("%s of %d receivers: %d, want %d", name, n, got, want)
			}
		}
		for i := range calls {
			if c := calls[i].Load(); c != 2 {
				t.Fatalf("%d calls for receiver %d of %d: want 2", c, i, n)
			}
		}
	}
}

// TestPanic: a panic on any goroutine reaches the caller, after the others have ended.
func TestPanic(t *testing.T) {
	var calls atomic.Int32
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3)) // one is left to others
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "receiver 7") {
			t.Errorf("the panic is %v", v)
		}
		if calls.Load() == 0 {
			t.Error("nothing was called")
		}
	}()
	Sum(100, 100*MinParallel, func(i int) int {
		calls.Add(1)
		if i == 7 {
			panic("receiver 7")
		}
		return 1
	})
}
