package netpoll

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Several workers empty batch after batch: each item is claimed once, and in the batch
// in which it was published.
func TestClaimOnce(t *testing.T) {
	const rounds = 1000
	var (
		b     batch
		conns [batchSize]Conn
		times [batchSize]atomic.Int32
		total atomic.Int64
		stop  atomic.Bool
		wg    sync.WaitGroup
	)
	claimAll := func() {
		for c := b.claim(); c != nil; c = b.claim() {
			times[c.fd].Add(1)
			total.Add(1)
		}
	}
	for i := range conns {
		conns[i].fd = int32(i)
	}
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				claimAll()
				runtime.Gosched()
			}
		})
	}
	var published int64
	for round := range rounds {
		n := round % (batchSize + 1)
		for i := range n {
			b.items[i].Store(&conns[(i+round)%batchSize])
		}
		b.publish(n)
		published += int64(n)
		for claimAll(); total.Load() < published; runtime.Gosched() {
		}
		for i := range n {
			if times[(i+round)%batchSize].Swap(0) != 1 {
				t.Fatal("an item was not claimed exactly once")
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	if total.Load() != published {
		t.Errorf("%d claims of %d items", total.Load(), published)
	}
}

// A worker that slept through a batch holds a word with the same length and index as the
// current one. It must not claim an item with it.
func TestStaleClaim(t *testing.T) {
	var b batch
	b.publish(2)
	stale := b.word.Load()
	for b.claim(); b.left() > 0; b.claim() {
	}
	b.publish(2)
	if length, next := unpack(stale); length != 2 || next != 0 || b.left() != 2 {
		t.Fatal("the batches differ in more than their number")
	}
	if b.word.CompareAndSwap(stale, stale+1) {
		t.Error("a stale claim was granted")
	}
}

func TestBatchNumberWraps(t *testing.T) {
	var b batch
	b.word.Store(0xffff_ffff_0003_0003)
	b.items[0].Store(new(Conn))
	if b.claim() != nil {
		t.Error("claimed from an empty batch")
	}
	b.publish(1)
	if b.left() != 1 || b.claim() == nil || b.claim() != nil {
		t.Error("the batch after the last number does not have its item")
	}
}
