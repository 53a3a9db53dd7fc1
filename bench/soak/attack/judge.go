package attack

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// Bound is how many times the twin's p99 the attacked server's p99 may be.
	Bound = 2
	// Floor is a p99, in milliseconds, that counts as unharmed whatever the twin's is: twice what healthy clients
	// measure on an idle machine.
	Floor = 0.25
	// leastSeconds are needed for a judgement: the interval of fewer is too narrow to be true.
	leastSeconds = 6
)

// A Verdict on one kind of message, or on an attack.
type Verdict string

// The verdicts.
const (
	Held      Verdict = "held"
	Undecided Verdict = "undecided"
	Exceeded  Verdict = "EXCEEDED"
)

// A Comparison says how the latency of one kind of message on the attacked server compares with the twin's.
type Comparison struct {
	What     string  `json:"what"`
	Attacked float64 `json:"attacked"` // p99 in milliseconds
	Twin     float64 `json:"twin"`
	// Handicap is how much the attacked server's p99 was above the twin's before the attack, in milliseconds: the
	// twin runs at a higher priority.
	Handicap float64 `json:"handicap"`
	// Ratio of the two, without the handicap; a twin faster than half of Floor counts as half of Floor. Low and
	// High are its 95 % interval.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// Worse counts the seconds in which the attacked server's p99 was over the bound, Better those in which the
	// twin's was, by the same rule.
	Worse   int     `json:"worse"`
	Better  int     `json:"better"`
	Seconds int     `json:"seconds"`
	Verdict Verdict `json:"verdict"`
}

// Compare judges the latency of echoes and pushes during an attack; it takes the handicap from the seconds before it.
//
// The p99 of all seconds together is a number without an error bar, so Compare resamples the seconds: it draws as
// many of them, with replacement, as there are, computes the ratio, and repeats that (the bootstrap). A second is
// drawn with what both servers felt in it, so a stall of the host, which hits both, cancels out. A stall that hit
// one server only is left out of many draws, so it widens the interval and the verdict becomes undecided, unless
// the same happens in several seconds to the same server.
//
// Where stalls of the host decide what p99 both servers have, the ratio is near 1 whatever the attack does. So
// Compare looks at single seconds, too: the host makes the attacked server the worse one as often as the twin, and
// an attack does not (the sign test).
//
// Compare depends on nothing else: the same seconds give the same verdict.
func Compare(before, during []Second) []Comparison {
	return []Comparison{
		compare("echoes", before, during, func(h Healthy) Latencies { return h.Echo }),
		compare("pushes", before, during, func(h Healthy) Latencies { return h.Push }),
	}
}

const (
	draws      = 2000
	confidence = 0.95
	// unlikely is the chance below which the sign test blames the attack: 8 seconds of 8, for instance.
	unlikely = 0.005
	// worseShare of the seconds, at least, have to be over the bound for the sign test to count.
	worseShare = 1.0 / 3
)

func compare(what string, before, during []Second, of func(Healthy) Latencies) (c Comparison) {
	c.What = what
	attacked, twin := pools(during, of)
	c.Seconds = len(attacked.counts)
	if c.Seconds == 0 {
		c.Verdict = Undecided
		return c
	}
	c.Handicap = handicap(before, of)
	ratio := func(weights []int) float64 {
		return max(attacked.quantile(0.99, weights)-c.Handicap, 0) / max(twin.quantile(0.99, weights), Floor/Bound)
	}
	weights := slices.Repeat([]int{1}, c.Seconds)
	c.Attacked, c.Twin, c.Ratio = attacked.quantile(0.99, weights), twin.quantile(0.99, weights), ratio(weights)
	random := rand.New(rand.NewPCG(1, 2))
	ratios := make([]float64, draws)
	for i := range ratios {
		clear(weights)
		for range c.Seconds {
			weights[random.IntN(c.Seconds)]++
		}
		ratios[i] = ratio(weights)
	}
	slices.Sort(ratios)
	tail := int((1 - confidence) / 2 * draws)
	c.Low, c.High = ratios[tail], ratios[draws-1-tail]
	for i := range c.Seconds {
		a, t := attacked.second(i), twin.second(i)
		switch a = max(a-c.Handicap, 0); {
		case a > max(Bound*t, Floor):
			c.Worse++
		case t > max(Bound*a, Floor):
			c.Better++
		}
	}
	blamed := float64(c.Worse) >= worseShare*float64(c.Seconds) && signTest(c.Worse, c.Better) < unlikely
	switch {
	case c.Seconds < leastSeconds:
		c.Verdict = Undecided
	case c.Low > Bound, blamed:
		c.Verdict = Exceeded
	case c.High <= Bound:
		c.Verdict = Held
	default:
		c.Verdict = Undecided
	}
	return c
}

// signTest is the chance of at least so many heads, in that many throws of a fair coin.
func signTest(heads, tails int) (chance float64) {
	return distuv.Binomial{N: float64(heads + tails), P: 0.5}.Survival(float64(heads) - 1)
}

// mostHandicap bounds the handicap to a share of the twin's p99, in case the host disturbed the seconds before.
const mostHandicap = 1

// handicap is the median, over the seconds before an attack, of the difference of the two servers' p99. The median does
// not see a stall of one server.
func handicap(before []Second, of func(Healthy) Latencies) float64 {
	attacked, twin := pools(before, of)
	n := len(attacked.counts)
	if n == 0 {
		return 0
	}
	differences, base := make([]float64, n), make([]float64, n)
	for i := range n {
		base[i] = twin.second(i)
		differences[i] = attacked.second(i) - base[i]
	}
	slices.Sort(differences)
	slices.Sort(base)
	return min(max(differences[(n-1)/2], 0), mostHandicap*base[(n-1)/2])
}

// pools returns the latencies of both servers in the seconds in which both have any.
func pools(seconds []Second, of func(Healthy) Latencies) (attacked, twin *pool) {
	var usable []Second
	for _, s := range seconds {
		if of(s.Attacked).Count() > 0 && of(s.Twin).Count() > 0 {
			usable = append(usable, s)
		}
	}
	return newPool(usable, func(s Second) Latencies { return of(s.Attacked) }), newPool(usable, func(s Second) Latencies { return of(s.Twin) })
}

func newPool(seconds []Second, of func(Second) Latencies) *pool {
	p := &pool{counts: make([]int, len(seconds))}
	for i, s := range seconds {
		for _, bucket := range of(s) {
			p.values = append(p.values, pooled{float64(bucket[0]) / 1000, i, bucket[1]})
			p.counts[i] += bucket[1]
		}
	}
	slices.SortFunc(p.values, func(a, b pooled) int { return cmp.Compare(b.ms, a.ms) })
	return p
}

func (c Comparison) String() string {
	return fmt.Sprintf("p99 of %s: %.2f ms, twin %.2f ms, handicap %.2f ms, ratio %.2f (%.2f–%.2f); worse in %d of %d seconds, better in %d",
		c.What, c.Attacked, c.Twin, c.Handicap, c.Ratio, c.Low, c.High, c.Worse, c.Seconds, c.Better)
}
