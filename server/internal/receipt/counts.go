package receipt

import (
	"math"
	"time"
)

// Buckets is the number of buckets of round trips: bucket i has those of at most
// 100 µs × 2^(i/8), which is 9 % more than the one before; the last one all that are longer
// than 90 s.
const Buckets = 160

const firstBucket = 100 * time.Microsecond

func bucketOf(d time.Duration) int {
	if d <= firstBucket {
		return 0
	}
	i := math.Ceil(8 * math.Log2(float64(d)/float64(firstBucket)))
	return min(int(i), Buckets-1)
}

// boundOf returns the longest round trip of a bucket.
func boundOf(i int) time.Duration {
	return time.Duration(float64(firstBucket) * math.Exp2(float64(i)/8))
}

// Counts are what a receipt has counted.
type Counts struct {
	Written   int // sessions that the message was written or queued to
	Confirmed int // of these, those whose pong has come
	Silent    int // of these, those that cannot answer
	Final     bool
	Trips     []uint32 // round trips, by bucket, up to the last that is not 0
}

func (r *Receipt) counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := Counts{Confirmed: r.confirmed, Silent: int(r.silent.Load()), Final: r.closed}
	c.Written = int(r.written.Load())
	last := 0
	for i, n := range r.trips {
		if n > 0 {
			last = i + 1
		}
	}
	c.Trips = append(c.Trips, r.trips[:last]...)
	return c
}

// Quantile returns a round trip that the part q of all does not exceed, to 9 %; 0 if there
// are none.
func Quantile(trips []uint32, q float64) time.Duration {
	var all uint64
	for _, n := range trips {
		all += uint64(n)
	}
	rank := uint64(math.Ceil(q * float64(all)))
	for i, n := range trips {
		if n == 0 {
			continue
		}
		if rank <= uint64(n) {
			return boundOf(i)
		}
		rank -= uint64(n)
	}
	return 0
}
