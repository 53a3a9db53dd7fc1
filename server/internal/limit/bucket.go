package limit

import (
	"sync"
	"time"
)

// Tick is the resolution of time in this package.
const (
	Tick           = 100 * time.Millisecond
	TicksPerSecond = uint32(time.Second / Tick)
)

// Burst is how many seconds' worth of tokens a full bucket holds.
const Burst = 10

// MaxRate is the highest rate that a bucket supports, in tokens per second. With the
// burst and the ticks of a second it makes 2^40 × 10 × 10 < 2^47, which leaves room
// for an int64.
const MaxRate = 1 << 40

// Bucket is a token bucket. The zero value is full. A tick may bring a fraction of a
// token, so the bucket counts in units of what a rate of one token per second brings
// in a tick, and loses nothing to rounding.
type Bucket struct {
	left int64  // tokens × TicksPerSecond
	last uint32 // tick of the last refill; 0: never
}

// Take removes n tokens from a bucket that gains rate tokens per second. It reports
// false, and removes none, if fewer are left.
func (b *Bucket) Take(n, rate int64, now uint32) bool { return b.TakeOf(n, rate, rate*Burst, now) }

// TakeOf is Take for a bucket that holds up to size tokens.
func (b *Bucket) TakeOf(n, rate, size int64, now uint32) bool {
	full := size * int64(TicksPerSecond)
	if ticks := int64(now - b.last); b.last == 0 || ticks > full/rate {
		b.left = full
	} else {
		b.left = min(b.left+ticks*rate, full)
	}
	b.last = now
	cost := n * int64(TicksPerSecond)
	if cost > b.left {
		return false
	}
	b.left -= cost
	return true
}

// PutBack returns tokens that were taken too early.
func (b *Bucket) PutBack(n int64) { b.left += n * int64(TicksPerSecond) }

// MostWait is the longest time that RetryAfter.Next returns.
const MostWait = 30 * time.Second

// RetryAfter computes Retry-After for rejected clients: each one is given the time of the
// next unpromised token, so that they do not all return for the same one. The zero value
// has promised nothing.
type RetryAfter struct {
	promised int64  // tokens × TicksPerSecond
	last     uint32 // tick up to which promised tokens are due
}

// Next returns the time until b has a token that is not promised to another client, at
// most MostWait. Call it after Take returned false, with the same rate.
func (t *RetryAfter) Next(b *Bucket, rate int64, now uint32) time.Duration {
	t.promised = max(t.promised-int64(now-t.last)*rate, 0)
	t.last = now
	most := int64(MostWait/Tick) * rate
	wait := min(t.promised+int64(TicksPerSecond)-b.left, most)
	t.promised = max(wait+b.left, 0)
	return time.Duration((wait+rate-1)/rate) * Tick
}

// Gate is a Bucket that goroutines share.
type Gate struct {
	mu     sync.Mutex
	bucket Bucket     // guarded by mu
	retry  RetryAfter // guarded by mu
}

// Take is Bucket.Take for one token. If there is none, it returns the time after which to
// try again, see RetryAfter.
func (g *Gate) Take(rate int64, now uint32) (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bucket.Take(1, rate, now) {
		return 0, true
	}
	return g.retry.Next(&g.bucket, rate, now), false
}
