package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-4*math.Max(1, math.Abs(b)) }

func TestSummarize(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   Summary
		spread float64
	}{
		{"none", nil, Summary{}, 0},
		{"one", []float64{7}, Summary{1, 7, 7, 7}, 0},
		{"odd", []float64{3, 1, 2}, Summary{3, 2, 1, 3}, 0.5},
		{"even", []float64{4, 1, 2, 3}, Summary{4, 2.5, 1, 4}, 0.6},
		{"an outlier moves the spread only", []float64{10, 10, 10, 10, 100}, Summary{5, 10, 10, 100}, 4.5},
		{"zeros", []float64{0, 0}, Summary{2, 0, 0, 0}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Summarize(tt.values); got != tt.want || !near(got.Spread(), tt.spread) {
				t.Errorf("%+v spread %v; want %+v, %v", got, got.Spread(), tt.want, tt.spread)
			}
		})
	}
}

// The wanted intervals were computed by hand from a table of Student's t: 12.7062 for one degree of
// freedom, 4.3027 for two.
func TestPaired(t *testing.T) {
	e := math.E
	tests := []struct {
		name            string
		a, b            []float64
		n               int
		mean, low, high float64
	}{
		{"one pair", []float64{6}, []float64{3}, 1, 2, math.NaN(), math.NaN()},
		{"the same every time", []float64{2, 4, 6}, []float64{1, 2, 3}, 3, 2, 2, 2},
		// Logarithms 0 and 2: mean 1, deviation √2, standard error 1.
		{"two pairs", []float64{1, e * e}, []float64{1, 1}, 2, e, math.Exp(1 - 12.7062), math.Exp(1 + 12.7062)},
		// Logarithms 1, 2, 3: mean 2, deviation 1, standard error 1/√3.
		{"three pairs", []float64{e, e * e, e * e * e}, []float64{1, 1, 1}, 3, e * e, math.Exp(2 - 4.3027/math.Sqrt(3)), math.Exp(2 + 4.3027/math.Sqrt(3))},
		{"the same conditions for both", []float64{10, 20, 5.1}, []float64{5, 10, 2.5}, 3, 2.0132, 1.9568, 2.0713},
		{"zeros are ignored", []float64{0, 2, 4}, []float64{1, 1, 2}, 2, 2, 2, 2},
		{"nothing", nil, nil, 0, math.NaN(), math.NaN(), math.NaN()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Paired(tt.a, tt.b)
			same := func(got, want float64) bool { return near(got, want) || math.IsNaN(got) && math.IsNaN(want) }
			if r.N != tt.n || !same(r.Mean, tt.mean) || !same(r.Low, tt.low) || !same(r.High, tt.high) {
				t.Errorf("%+v, want n %d, %v (%v to %v)", r, tt.n, tt.mean, tt.low, tt.high)
			}
		})
	}
}

// TestPairedCovers checks that over many made-up experiments of five rounds the interval holds the true ratio in about
// 95 of 100.
func TestPairedCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const runs, truth = 4000, 1.3
	held := 0
	for range runs {
		var a, b []float64
		for range 5 {
			conditions := math.Exp(random.NormFloat64())
			a = append(a, truth*conditions*math.Exp(0.1*random.NormFloat64()))
			b = append(b, conditions*math.Exp(0.1*random.NormFloat64()))
		}
		if r := Paired(a, b); r.Low <= truth && truth <= r.High {
			held++
		}
	}
	if share := float64(held) / runs; share < 0.94 || share > 0.96 {
		t.Errorf("the interval held the truth in %.3f of the runs", share)
	}
}
