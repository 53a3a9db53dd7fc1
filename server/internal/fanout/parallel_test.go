package fanout

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestSumLeavesACore: a walk leaves one core to what arrives meanwhile, and uses the others.
func TestSumLeavesACore(t *testing.T) {
	for _, tt := range []struct{ procs, receivers, want int }{{4, 10_000, 3}, {2, 10_000, 1}, {1, 10_000, 1}, {4, 2 * MinParallel, 2}} {
		old := runtime.GOMAXPROCS(tt.procs)
		synctest.Test(t, func(t *testing.T) {
			var begun atomic.Int32
			goOn, total := make(chan struct{}), make(chan int, 1)
			go func() {
				total <- Sum(10, tt.receivers, func(int) int {
					begun.Add(1)
					<-goOn
					return 1
				})
			}()
			synctest.Wait()
			if n := int(begun.Load()); n != tt.want {
				t.Errorf("%d processors, %d receivers: %d goroutines, want %d", tt.procs, tt.receivers, n, tt.want)
			}
			close(goOn)
			if n := <-total; n != 10 {
				t.Errorf("%d of 10 parts", n)
			}
		})
		runtime.GOMAXPROCS(old)
	}
}
