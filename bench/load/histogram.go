package load

import "github.com/HdrHistogram/hdrhistogram-go"

// newHistogram returns a histogram for 1 µs to 100 s, in nanoseconds, with three significant digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, 100e9, 3) }

// record clamps a value that is out of range, so that it is counted.
func record(h *hdrhistogram.Histogram, ns int64) {
	h.RecordValue(min(max(ns, h.LowestTrackableValue()), h.HighestTrackableValue()))
}
