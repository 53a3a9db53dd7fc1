package netpoll

import (
	"io"
	"runtime"
	"testing"
	"time"
)

// emptyQueues makes f provide the next queue.
func emptyQueues(t *testing.T, f func()) {
	queues.New = nil
	for queues.Get() != nil {
	}
	queues.New = func() any { f(); return new(queue) }
	t.Cleanup(func() { queues.New = func() any { return new(queue) } })
}

// A writer that finds the socket full sets flagQueued, so that a worker flushes when there
// is room. The event that says so may come before: here it does, because the peer reads
// while the writer gets a queue.
func TestNoWritableEdgeIsLost(t *testing.T) {
	for _, transport := range transports {
		if transport == Goroutine {
			continue // no edges
		}
		for _, network := range []string{"tcp", "unix"} {
			t.Run(transport.String()+"/"+network, func(t *testing.T) {
				r := newRig(t, Config{Transport: transport}, network, ignore)
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

// The same race, as often as it happens by chance.
func TestWriterAndReaderRace(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
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
