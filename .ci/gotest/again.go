package main

import "slices"

// A rest is the tests of a package that its first pass skipped.
type rest struct {
	pkg   string
	tests []string
}

// runAgain calls run for the rests that arrive, until the channel is closed: each time for all that have arrived, because
// go test takes a second to look at the packages that it is to build.
func runAgain(rests <-chan rest, run func(tests, packages []string) error) error {
	for r := range rests {
		tests, packages := r.tests, []string{r.pkg}
		for range len(rests) {
			next := <-rests
			tests, packages = append(tests, next.tests...), append(packages, next.pkg)
		}
		slices.Sort(tests)
		if err := run(slices.Compact(tests), packages); err != nil {
			return err
		}
	}
	return nil
}
