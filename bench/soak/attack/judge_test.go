package attack

import (
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A host makes up what healthy clients measure, in microseconds: 500 messages a second on each server, 80 to 250 µs
// without noise.
type host struct {
	*rand.Rand
	// together is the chance that a second has a stall which delays messages on both servers, apart the chance, for
	// each server, of a stall of its own.
	together, apart float64
	handicap        int                            // of the attacked server, in microseconds
	attacked        func(second int, micros []int) // what the attack does to the latencies
}

func (h host) seconds(n int) (all []Second) {
	for i := range n {
		var s Second
		var common []int
		if h.Float64() < h.together {
			common = h.stall()
		}
		for _, to := range []*Latencies{&s.Attacked.Echo, &s.Attacked.Push, &s.Twin.Echo, &s.Twin.Push} {
			micros := make([]int, 500)
			for m := range micros {
				micros[m] = 80 + h.IntN(100) + int(20*h.ExpFloat64())
			}
			if to == &s.Attacked.Echo || to == &s.Attacked.Push {
				for m := range micros {
					micros[m] += h.handicap
				}
			}
			h.delay(micros, common)
			if h.Float64() < h.apart {
				h.delay(micros, h.stall())
			}
			if h.attacked != nil && (to == &s.Attacked.Echo || to == &s.Attacked.Push) {
				h.attacked(i, micros)
			}
			*to = pack(micros)
		}
		all = append(all, s)
	}
	return all
}

// stall is a time from 2 to 60 ms in which nothing runs, as the delays of the messages that are due in it.
func (h host) stall() (delays []int) {
	length := 2000 + h.IntN(58_000)
	for due := 0; due < length; due += 2000 { // 500 messages a second
		delays = append(delays, length-due)
	}
	return delays
}

// delay adds the delays to messages that follow one another.
func (h host) delay(micros, delays []int) {
	if len(delays) == 0 {
		return
	}
	at := h.IntN(len(micros) - len(delays))
	for i, d := range delays {
		micros[at+i] += d
	}
}

func pack(micros []int) (l Latencies) {
	slices.Sort(micros)
	for _, m := range micros {
		if n := len(l); n > 0 && l[n-1][0] == m {
			l[n-1][1]++
		} else {
			l = append(l, [2]int{m, 1})
		}
	}
	return l
}

// withoutRace leaves a test of arithmetic to the pass without the race detector: one goroutine has no races, and the
// detector multiplies the time of millions of made-up messages.
func withoutRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine computes: runs without the race detector")
	}
}

// TestCompareMadeUp counts the verdicts over made-up runs, for each kind of host and damage.
func TestCompareMadeUp(t *testing.T) {
	withoutRace(t)
	times := func(factor int) func(int, []int) {
		return func(_ int, micros []int) {
			for i := range micros {
				micros[i] *= factor
			}
		}
	}
	// every delays a share of the messages, as a worker that is blocked now and then does.
	every := func(n, by int) func(int, []int) {
		return func(_ int, micros []int) {
			for i := 0; i < len(micros); i += n {
				micros[i] += by
			}
		}
	}
	for _, tt := range []struct {
		name            string
		together, apart float64
		attacked        func(int, []int)
		held, exceeded  [2]int // fewest and most of 100 comparisons
		seconds         int    // 0: 13
	}{
		{"quiet host, no damage", 0, 0, nil, [2]int{100, 100}, [2]int{0, 0}, 0},
		{"quiet host, 3 times as slow", 0, 0, times(3), [2]int{0, 0}, [2]int{100, 100}, 0},
		{"quiet host, a tenth slower", 0, 0, func(_ int, m []int) {
			for i := range m {
				m[i] += m[i] / 10
			}
		}, [2]int{100, 100}, [2]int{0, 0}, 0},
		{"quiet host, one message in 50 waits 2 ms", 0, 0, every(50, 2000), [2]int{0, 0}, [2]int{100, 100}, 0},
		{"quiet host, one message in 1000 waits 2 ms", 0, 0, every(1000, 2000), [2]int{95, 100}, [2]int{0, 0}, 0},
		{"stalls of both, no damage", 0.5, 0, nil, [2]int{50, 100}, [2]int{0, 0}, 0},
		{"every second stalls both, no damage", 1, 0, nil, [2]int{90, 100}, [2]int{0, 0}, 0},
		{"stalls of both and of each, no damage", 0.5, 0.1, nil, [2]int{20, 100}, [2]int{0, 2}, 0},
		{"stalls of each, no damage", 0, 0.2, nil, [2]int{0, 100}, [2]int{0, 2}, 0},
		{"stalls of both, one message in 20 waits 30 ms", 0.5, 0, every(20, 30_000), [2]int{0, 0}, [2]int{95, 100}, 39},
		{"stalls of both and of each, one message in 20 waits 100 ms", 0.5, 0.1, every(20, 100_000), [2]int{0, 0}, [2]int{95, 100}, 0},
		{"every second stalls both, one message in 20 waits 200 ms", 1, 0, every(20, 200_000), [2]int{0, 0}, [2]int{97, 100}, 0},
		{"quiet host, every fifth second is damaged", 0, 0, func(second int, m []int) {
			if second%5 == 0 {
				times(100)(second, m)
			}
		}, [2]int{0, 0}, [2]int{100, 100}, 39},
		{"quiet host, one second of damage", 0, 0, func(second int, m []int) {
			if second == 5 {
				times(100)(second, m)
			}
		}, [2]int{0, 0}, [2]int{0, 0}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := host{rand.New(rand.NewPCG(7, 7)), tt.together, tt.apart, 150, tt.attacked}
			const runs = 20 // each with two comparisons
			counts := map[Verdict]int{}
			for range runs {
				before := h
				before.attacked = nil
				for _, c := range Compare(before.seconds(4), h.seconds(cmp.Or(tt.seconds, 13))) {
					counts[c.Verdict]++
				}
			}
			for verdict, want := range map[Verdict][2]int{Held: tt.held, Exceeded: tt.exceeded} {
				if n := counts[verdict] * 100 / (2 * runs); n < want[0] || n > want[1] {
					t.Errorf("%d of 100 are %s, want %d to %d: %v", n, verdict, want[0], want[1], counts)
				}
			}
		})
	}
}

// TestCompareMore: what one run leaves undecided, more seconds of the same decide.
func TestCompareMore(t *testing.T) {
	withoutRace(t)
	h := host{rand.New(rand.NewPCG(3, 3)), 0.5, 0.1, 0, nil}
	undecided := func(seconds int) (n int) {
		for range 10 {
			for _, c := range Compare(nil, h.seconds(seconds)) {
				if c.Verdict == Undecided {
					n++
				}
			}
		}
		return n
	}
	if few, many := undecided(13), undecided(60); many > few/2 {
		t.Errorf("of 20 comparisons %d are undecided after 13 seconds, %d after 60", few, many)
	}
}

func TestCompareEdges(t *testing.T) {
	quiet := host{rand.New(rand.NewPCG(1, 1)), 0, 0, 0, nil}
	for _, tt := range []struct {
		name    string
		seconds []Second
		want    Verdict
	}{
		{"nothing", nil, Undecided},
		{"too few", quiet.seconds(leastSeconds - 1), Undecided},
		{"just enough", quiet.seconds(leastSeconds), Held},
		{"empty seconds do not count", append(quiet.seconds(leastSeconds-1), Second{}), Undecided},
		{"below the floor", slices.Repeat([]Second{{Attacked: both(240), Twin: both(10)}}, 10), Held},
		{"above the floor", slices.Repeat([]Second{{Attacked: both(260), Twin: both(10)}}, 10), Exceeded},
		{"exactly doubled", slices.Repeat([]Second{{Attacked: both(2000), Twin: both(1000)}}, 10), Held},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range Compare(nil, tt.seconds) {
				if c.Verdict != tt.want {
					t.Errorf("%s, want %s: %v", c.Verdict, tt.want, c)
				}
			}
		})
	}
}

func both(micros int) Healthy {
	l := Latencies{{micros, 500}}
	return Healthy{l, l}
}

func TestHandicap(t *testing.T) {
	of := func(h Healthy) Latencies { return h.Echo }
	second := func(attacked, twin int) Second { return Second{both(attacked), both(twin)} }
	for _, tt := range []struct {
		name   string
		before []Second
		want   float64
	}{
		{"no seconds", nil, 0},
		{"slower than the twin", []Second{second(350, 200), second(350, 200), second(350, 200)}, 0.15},
		{"a stall of one server", []Second{second(350, 200), second(90_000, 200), second(350, 200)}, 0.15},
		{"faster than the twin", []Second{second(200, 350)}, 0},
		{"more than the twin's own", []Second{second(900, 200), second(900, 200)}, 0.2},
	} {
		if got := handicap(tt.before, of); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestCompareHandicap checks that the difference of the servers before an attack is not blamed on it.
func TestCompareHandicap(t *testing.T) {
	before := slices.Repeat([]Second{{both(600), both(300)}}, 4)
	during := slices.Repeat([]Second{{both(780), both(300)}}, 10)
	for _, c := range Compare(before, during) {
		if c.Verdict != Held || math.Abs(c.Ratio-1.6) > 0.01 {
			t.Errorf("with a handicap of 0.3 ms: %s: %v", c.Verdict, c)
		}
	}
	for _, c := range Compare(nil, during) {
		if c.Verdict != Exceeded {
			t.Errorf("without a handicap: %s: %v", c.Verdict, c)
		}
	}
}

func TestSignTest(t *testing.T) {
	for _, tt := range []struct {
		heads, tails int
		want         float64
	}{{0, 0, 1}, {1, 0, 0.5}, {3, 0, 0.125}, {2, 1, 0.5}, {8, 0, 1.0 / 256}, {0, 5, 1}} {
		if got := signTest(tt.heads, tt.tails); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%d heads and %d tails: %v, want %v", tt.heads, tt.tails, got, tt.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	p := newPool([]Second{{Attacked: Healthy{Echo: Latencies{{1000, 99}, {9000, 1}}}}, {Attacked: Healthy{Echo: Latencies{{2000, 100}}}}},
		func(s Second) Latencies { return s.Attacked.Echo })
	for _, tt := range []struct {
		share   float64
		weights []int
		want    float64
	}{
		{0.99, []int{1, 1}, 2}, // one of 200 took longer
		{0.99, []int{1, 0}, 1},
		{0.999, []int{1, 0}, 9},
		{0.99, []int{0, 3}, 2},
		{0.5, []int{2, 1}, 1},
		{0.5, []int{0, 0}, 0},
	} {
		if got := p.quantile(tt.share, tt.weights); got != tt.want {
			t.Errorf("quantile %v with weights %v is %v, want %v", tt.share, tt.weights, got, tt.want)
		}
	}
}

// TestCompareRecorded judges series that were recorded on a machine of two cores with other work on it. Their names
// begin with the verdict that is right.
func TestCompareRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var recorded struct {
				Want           Verdict
				Before, During []Second
			}
			if err := json.Unmarshal(b, &recorded); err != nil {
				t.Fatal(err)
			}
			for _, c := range Compare(recorded.Before, recorded.During) {
				t.Log(c.Verdict, c)
				if c.Verdict != recorded.Want {
					t.Errorf("%s, want %s", c.Verdict, recorded.Want)
				}
			}
		})
	}
}
