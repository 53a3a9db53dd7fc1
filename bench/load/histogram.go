package load

import "github.com/HdrHistogram/hdrhistogram-go"

// newHistogram holds nanoseconds from 1 µs to 100 s in three significant digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, 100e9, 3) }

// record clamps instead of refusing: a value out of range must not vanish from the count.
func record(h *hdrhistogram.Histogram, ns int64) {
	h.RecordValue(min(max(ns, h.LowestTrackableValue()), h.HighestTrackableValue()))
}
