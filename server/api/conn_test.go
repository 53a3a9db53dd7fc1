package api

import (
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// flood is a connection with always more to read.
type flood struct{ net.Conn }

func (flood) Read(p []byte) (int, error) { return len(p), nil }

// With one processor the other goroutine runs only when this one yields.
func TestLongBodiesYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, test := range []struct {
		name string
		read func(c *conn, n int64) error
	}{
		{"at once", func(c *conn, n int64) error { _, err := io.ReadFull(c, make([]byte, n)); return err }},
		{"bit by bit", func(c *conn, n int64) error {
			_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{io.LimitReader(c, n)}, make([]byte, 8<<10))
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			const stretches = 1000 // more than the runtime interrupts of its own accord, once in 10 ms
			var turns atomic.Int64
			var over atomic.Bool
			var other sync.WaitGroup
			other.Go(func() {
				for !over.Load() {
					turns.Add(1)
					runtime.Gosched()
				}
			})
			if err := test.read(&conn{Conn: flood{}, api: new(API)}, stretches*stretch); err != nil {
				t.Fatal(err)
			}
			got := turns.Load()
			over.Store(true)
			other.Wait()
			// The runtime goes on with the same one each 61st time.
			if got < stretches*9/10 {
				t.Errorf("others had %d turns during %d stretches", got, stretches)
			}
		})
	}
}
