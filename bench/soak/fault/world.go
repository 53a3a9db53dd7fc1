package fault

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// world is a cluster with its users and producers.
type world struct {
	*cluster
	history *history
	pace    time.Duration // average time between two pushes to a user
	users   []string
	away    bool // a third of the users connects only after the faults
	steady  bool // the first user stays connected
	padding int  // a tenth of the messages have up to so many further bytes

	end   context.Context // of the test
	stop  context.CancelFunc
	quiet chan struct{} // closed after the faults

	devices, producers                  sync.WaitGroup
	connects, retries, jumps, producing atomic.Int64
	mu                                  sync.Mutex
	seeds                               *rand.Rand         // guarded by mu
	connection                          context.Context    // guarded by mu
	disconnect                          context.CancelFunc // guarded by mu
}

func newWorld(ctx context.Context, c *cluster, seed uint64) *world {
	w := &world{cluster: c, history: newHistory(), quiet: make(chan struct{}), seeds: rand.New(rand.NewPCG(seed, 1))}
	w.end, w.stop = context.WithCancel(ctx)
	w.connection, w.disconnect = context.WithCancel(w.end)
	return w
}

// random returns a source of random numbers for one goroutine.
func (w *world) random() random {
	w.mu.Lock()
	defer w.mu.Unlock()
	return random{rand.New(rand.NewPCG(w.seeds.Uint64(), w.seeds.Uint64()))}
}

// populate starts users and a producer for each.
func (w *world) populate(users int) {
	for i := range users {
		w.addUser(i)
	}
	for _, user := range w.users {
		rnd := w.random()
		w.producing.Add(1)
		w.producers.Go(func() {
			defer w.producing.Add(-1)
			w.produce(user, rnd)
		})
	}
}

// calm reports whether the faults are over.
func (w *world) calm() bool {
	select {
	case <-w.quiet:
		return true
	default:
		return false
	}
}

// connected returns the context of new connections.
func (w *world) connected() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connection
}

// reconnect makes all devices reconnect.
func (w *world) reconnect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disconnect()
	w.connection, w.disconnect = context.WithCancel(w.end)
}

func (w *world) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// settle waits until all accepted messages have been received, or until limit has
// passed, and returns the missing ones.
func (w *world) settle(limit time.Duration) (lost []string) {
	deadline := time.Now().Add(limit)
	for {
		lost = w.history.check().Lost
		if len(lost) == 0 && w.produced() || time.Now().After(deadline) || w.end.Err() != nil {
			return lost
		}
		w.pause(w.end, 200*time.Millisecond)
	}
}

// produced reports whether all producers have ended.
func (w *world) produced() bool { return w.producing.Load() == 0 }

func (w *world) close() {
	w.stop()
	w.producers.Wait()
	w.devices.Wait()
	dialer.CloseIdleConnections()
}

// random is the source of random numbers of one goroutine.
type random struct{ *rand.Rand }

// upTo returns a duration less than d.
func (r random) upTo(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
