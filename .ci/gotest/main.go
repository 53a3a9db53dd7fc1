// Command gotest runs the tests of the modules named as arguments: all of them with the race detector, and without it
// those that were skipped. Tests of what an operation costs are skipped under the race detector, which allocates and
// makes system calls of its own, and so are tests in which it cannot find anything. A test that one pass skips and the
// other does not reach is a failure.
//
// The modules are tested side by side, and what a package skips runs while others are tested with the race detector. The
// package that probably takes longest starts first, so that no long one is left at the end. What is built without the
// race detector is built as a release is, so that tests, the programs that they build, and lint share one set of
// compiled packages.
//
// The tests of -bits32 run once more, as programs for 32 bits.
//
// It prints a line per package when the package is done, and at the end every test that was skipped in both passes,
// with its reason. In CI (the variable CI is not empty) a skipped test that .ci/skips does not allow is a failure.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	skips := flag.String("skips", ".ci/skips", "`file` of the tests that may be skipped")
	var bits32 []string
	flag.Func("bits32", "`arguments` of go test for tests that also run as programs for 32 bits; may be repeated", func(args string) error {
		bits32 = append(bits32, args)
		return nil
	})
	flag.Parse()
	if err := run(*skips, strings.Fields(os.Getenv("TESTFLAGS")), bits32, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
}

func run(skips string, flags, bits32, modules []string) error {
	rules, err := readRules(skips)
	if err != nil {
		return err
	}
	began := time.Now()
	results, errs := make([]result, len(modules)+1), make([]error, len(modules)+1)
	var all sync.WaitGroup
	for i, module := range modules {
		all.Go(func() { results[i], errs[i] = testModule(module, flags) })
	}
	if len(bits32) > 0 {
		all.Go(func() { results[len(modules)], errs[len(modules)] = testBits32(bits32, flags) })
	}
	all.Wait()
	var total result
	for _, r := range results {
		total.add(r)
	}
	forbidden := 0
	for _, s := range total.skipped {
		fmt.Printf("SKIP %s: %s\n", s.name, s.reason)
		if allowed(rules, s.name) == "" {
			forbidden++
			fmt.Println("     not on the list " + skips)
		}
	}
	for _, n := range total.unreached {
		fmt.Printf("FAIL %s: skipped with the race detector, and not reached without it\n", n)
	}
	fmt.Printf("took %v\n", time.Since(began).Round(time.Second))
	if failed := slices.Concat(total.failed, total.unreached); len(failed) > 0 {
		errs = append(errs, fmt.Errorf("%d failed:\n  %s", len(failed), strings.Join(list(failed), "\n  ")))
	}
	if forbidden > 0 && os.Getenv("CI") != "" {
		errs = append(errs, fmt.Errorf("%d tests were skipped that %s does not allow", forbidden, skips))
	}
	return errors.Join(errs...)
}

// A result is what the tests of a module came to.
type result struct {
	failed    []name
	skipped   []skip // in both passes
	unreached []name // skipped in one pass, and not run in the other
}

type skip struct {
	name   name
	reason string
}

func (r *result) add(o result) {
	r.failed = slices.Concat(r.failed, o.failed)
	r.skipped = slices.Concat(r.skipped, o.skipped)
	r.unreached = slices.Concat(r.unreached, o.unreached)
}

func testModule(module string, flags []string) (result, error) {
	packages, err := longestFirst(module)
	if err != nil {
		return result{}, err
	}
	race, plain := newTally(os.Stdout, time.Now), newTally(os.Stdout, time.Now)
	plain.note = ", without the race detector"
	rests := make(chan rest, len(packages))
	race.onEnd = func(pkg string) {
		if tests := race.again(pkg); len(tests) > 0 {
			rests <- rest{pkg, tests}
		}
	}
	first := make(chan error, 1)
	go func() {
		defer close(rests)
		first <- goTest(race, module, withRace, slices.Concat(flags, packages))
	}()
	err = runAgain(rests, func(tests, packages []string) error {
		only := "-run=^(" + strings.Join(tests, "|") + ")$"
		return goTest(plain, module, withoutRace, slices.Concat(flags, []string{only}, packages))
	})
	if err := errors.Join(<-first, err); err != nil {
		return result{}, err
	}
	return compare(race, plain), nil
}

// testBits32 runs tests of the main module as programs for 32 bits. What they skip runs in a pass of testModule.
func testBits32(runs, flags []string) (r result, err error) {
	for _, args := range runs {
		t := newTally(os.Stdout, time.Now)
		t.note = ", on 32 bits"
		if err := goTest(t, ".", on32Bits, slices.Concat(flags, strings.Fields(args))); err != nil {
			return r, err
		}
		r.failed = append(r.failed, t.failed...)
	}
	return r, nil
}

// compare judges the two passes of a module.
func compare(race, plain *tally) result {
	r := result{failed: slices.Concat(race.failed, plain.failed)}
	for _, n := range race.names() {
		if !plain.reached(n) {
			r.unreached = append(r.unreached, n)
		}
	}
	// A test that ran in the first pass is in the second one, too, if it has the name of a skipped one of another package.
	for _, n := range plain.names() {
		if !race.ended[n] {
			r.skipped = append(r.skipped, skip{n, plain.skipped[n]})
		}
	}
	return r
}

func list(names []name) (lines []string) {
	for _, n := range names {
		lines = append(lines, n.String())
	}
	return lines
}
