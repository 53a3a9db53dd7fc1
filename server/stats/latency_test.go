package stats

import (
	"slices"
	"testing"
	"time"
)

func TestLatencyBuckets(t *testing.T) {
	for _, test := range []struct {
		d      time.Duration
		bucket int
	}{
		{-time.Second, 0}, {0, 0}, {16*time.Microsecond - 1, 0}, {16 * time.Microsecond, 1}, {64*time.Microsecond - 1, 1},
		{64 * time.Microsecond, 2}, {time.Millisecond, 3}, {time.Second, 8}, {4*time.Second + 194_303*time.Microsecond, 9},
		{4*time.Second + 194_304*time.Microsecond, 10}, {time.Hour, 10},
	} {
		var l Latency
		l.Add(test.d)
		h := l.histogram()
		if got := slices.Index(h.Counts, 1); got != test.bucket || h.Count != 1 || h.Seconds != test.d.Seconds() {
			t.Errorf("%v is in bucket %d of %+v, want %d", test.d, got, h, test.bucket)
		}
		if b := test.bucket; b > 0 && test.d < h.Bounds[b-1] || b < len(h.Bounds) && test.d >= h.Bounds[b] {
			t.Errorf("%v does not fit in bucket %d of %v", test.d, b, h.Bounds)
		}
	}
}
