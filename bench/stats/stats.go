package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A Summary describes repeated measurements of one quantity.
type Summary struct {
	N        int
	Median   float64
	Min, Max float64
}

// Summarize returns the Summary of values, which is zero without values.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return Summary{N: n, Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// Spread returns half the distance between the extremes, as a share of the median.
func (s Summary) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / 2 / math.Abs(s.Median)
}

// A Ratio compares two quantities that were measured in pairs.
type Ratio struct {
	N         int     // pairs
	Mean      float64 // geometric mean of the pairs' ratios
	Low, High float64 // the interval that holds the true ratio in 95 of 100 such runs; NaN for a single pair
}

// confidence is the share of runs whose interval holds the true ratio.
const confidence = 0.95

// Paired returns the ratio of a[i] to b[i] over all i. Ratios multiply, so their logarithms are averaged; Student's t
// gives the interval, which is right for few pairs. Pairs without a positive value on both sides are ignored.
func Paired(a, b []float64) Ratio {
	var logs []float64
	for i := range min(len(a), len(b)) {
		if a[i] > 0 && b[i] > 0 {
			logs = append(logs, math.Log(a[i]/b[i]))
		}
	}
	if len(logs) == 0 {
		return Ratio{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()}
	}
	r := Ratio{N: len(logs), Mean: math.Exp(stat.Mean(logs, nil)), Low: math.NaN(), High: math.NaN()}
	if r.N > 1 {
		mean, dev := stat.MeanStdDev(logs, nil)
		t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(r.N - 1)}.Quantile((1 + confidence) / 2)
		half := t * stat.StdErr(dev, float64(r.N))
		r.Low, r.High = math.Exp(mean-half), math.Exp(mean+half)
	}
	return r
}
