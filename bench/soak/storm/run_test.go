package storm

import (
	"testing"
	"time"
)

// TestDelays: percentiles of times in any order.
func TestDelays(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i)*time.Millisecond)
	}
	for _, test := range []struct {
		times []time.Duration
		want  Delays
	}{
		{nil, Delays{}},
		{[]time.Duration{time.Millisecond}, Delays{1, 1, 1}},
		{hundred, Delays{51, 100, 100}},
	} {
		if got := delays(test.times); got != test.want {
			t.Errorf("%d times: %+v, want %+v", len(test.times), got, test.want)
		}
	}
}
