package replay

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// tape makes the choices of a schedule, so that it can be run again, shortened, or
// be one of all that there are.
type tape struct {
	choices []int
	pos     int
	sizes   []int // of the choices that were made
}

// next chooses from 0 to n-1; beyond the end of the tape it is 0. If n
// is 1 it takes nothing from the tape.
func (t *tape) next(n int) int {
	if n == 1 {
		return 0
	}
	c := 0
	if t.pos < len(t.choices) {
		c = t.choices[t.pos] % n
	}
	t.pos++
	t.sizes = append(t.sizes, n)
	return c
}

func (t *tape) done() bool { return t.pos >= len(t.choices) }

func randomTape(seed uint64, n int) *tape {
	r := rand.New(rand.NewPCG(seed, 1))
	t := &tape{choices: make([]int, n)}
	for i := range t.choices {
		t.choices[i] = r.IntN(1 << 16)
	}
	return t
}

// shrink returns the shortest choices that it finds with which fails still does.
func shrink(choices []int, fails func([]int) bool) []int {
	for size := len(choices) / 2; size >= 1; {
		smaller := false
		for i := 0; i+size <= len(choices); i += size {
			if try := slices.Delete(slices.Clone(choices), i, i+size); fails(try) {
				choices, smaller = try, true
				break
			}
		}
		if !smaller {
			size /= 2
		}
	}
	for i := range choices {
		if try := slices.Clone(choices); try[i] != 0 {
			if try[i] = 0; fails(try) {
				choices = try
			}
		}
	}
	return choices
}

// every calls run with every tape of n choices, and returns how many there are.
func every(n int, run func(*tape)) (count int) {
	choices := make([]int, n)
	for {
		t := &tape{choices: slices.Clone(choices)}
		run(t)
		count++
		i := min(n, len(t.sizes)) - 1
		for ; i >= 0 && choices[i]+1 >= t.sizes[i]; i-- {
			choices[i] = 0
		}
		if i < 0 {
			return count
		}
		choices[i]++
		clear(choices[i+1:])
	}
}

// fault is what a model panics with.
type fault string

func faultf(format string, args ...any) { panic(fault(fmt.Sprintf(format, args...))) }
