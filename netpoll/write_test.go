package netpoll

import (
	"io"
	"runtime"
	"testing"
	"time"
)

// emptyQueues makes the next queue come out of f.
func emptyQueues(t *testing.T, f func()) {
	queues.New = nil
	for queues.Get() != nil {
	}
	queues.New = func() any { f(); return new(queue) }
	t.Cleanup(func() { queues.New = func() any { return new(queue) } })
}

// A writer that is told that the socket is full sets flagQueued, for a worker to
// flush when there is room. The edge that says so may come in between: here it
// does, because the peer reads while the writer gets itself a queue.
func TestNoWritableEdgeIsLost(t *testing.T) {
	for _, kind := range kinds {
		if kind == Goroutine {
			continue // no edges
		}
		for _, network := range []string{"tcp", "unix"} {
			t.Run(kind.String()+"/"+network, func(t *testing.T) {
				r := newRig(t, Config{Transport: kind}, network, ignore)
				nc, s := r.connect()
				edge := func() {
					before := r.e.batch.word.Load() >> 32
					nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					io.Copy(io.Discard, nc)
					eventually(t, "a worker sees the edge", func() bool {
						return r.e.batch.word.Load()>>32 > before && r.e.asleep.Load() && s.turn.word.Load()&turnMask == turnIdle
					})
				}
				emptyQueues(t, edge)
				const n = 64 << 20 // no socket takes that at once
				if got := s.Write(make([]byte, n), CloseOnFull); !got.Delivered() {
					t.Fatalf("Write = %v", got)
				}
				nc.SetReadDeadline(time.Now().Add(patience))
				go io.Copy(io.Discard, nc)
				eventually(t, "the queue runs empty", func() bool { return s.Queued() == 0 })
			})
		}
	}
}

// The same, as often as it comes by itself.
func TestWriterAndReaderRace(t *testing.T) {
	everywhere(t, func(t *testing.T, kind Kind, network string) {
		r := newRig(t, Config{Transport: kind}, network, ignore)
		nc, s := r.connect()
		go io.Copy(io.Discard, nc)
		msg := make([]byte, 100<<10)
		for range 200 {
			if got := s.Write(msg, CloseOnFull); !got.Delivered() {
				t.Fatalf("Write = %v", got)
			}
			for deadline := time.Now().Add(patience); s.Queued() > 0; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatalf("%d bytes stay in the queue while the peer reads", s.Queued())
				}
			}
		}
	})
}
