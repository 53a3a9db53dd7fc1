// Command gotest runs the tests of the modules named as arguments, twice: all of them with the race detector, and then,
// without it, those that were skipped. Tests of what an operation costs are skipped under the race detector, which
// allocates and makes system calls of its own.
//
// It prints a line per package when the package is done, and at the end every test that was skipped in both passes,
// with its reason. In CI (the variable CI is not empty) a skipped test that .ci/skips does not allow is a failure.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	skips := flag.String("skips", ".ci/skips", "`file` of the tests that may be skipped")
	flag.Parse()
	if err := run(*skips, strings.Fields(os.Getenv("TESTFLAGS")), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
}

func run(skips string, flags, modules []string) error {
	rules, err := readRules(skips)
	if err != nil {
		return err
	}
	began := time.Now()
	var failed []name
	var skipped []string
	forbidden := 0
	for _, module := range modules {
		fmt.Printf("%s: all tests, with the race detector\n", module)
		race := newTally(os.Stdout, time.Now)
		if err := goTest(race, module, slices.Concat([]string{"-race", "-shuffle=on"}, flags, []string{"./..."})); err != nil {
			return err
		}
		failed = append(failed, race.failed...)
		plain, err := again(module, race, flags)
		if err != nil {
			return err
		}
		failed = append(failed, plain.failed...)
		for _, n := range plain.names() {
			why := allowed(rules, n)
			skipped = append(skipped, fmt.Sprintf("SKIP %s: %s", n, plain.skipped[n]))
			if why == "" {
				forbidden++
				skipped = append(skipped, "     not on the list "+skips)
			}
		}
	}
	if len(skipped) > 0 {
		fmt.Println(strings.Join(skipped, "\n"))
	}
	fmt.Printf("took %v\n", time.Since(began).Round(time.Second))
	if len(failed) > 0 {
		return fmt.Errorf("%d failed:\n  %s", len(failed), strings.Join(list(failed), "\n  "))
	}
	if forbidden > 0 && os.Getenv("CI") != "" {
		return fmt.Errorf("%d tests were skipped that %s does not allow", forbidden, skips)
	}
	return nil
}

// again runs the tests that a pass skipped, without the race detector.
func again(module string, race *tally, flags []string) (*tally, error) {
	plain := newTally(os.Stdout, time.Now)
	tests := map[string][]string{} // by package
	for _, n := range race.names() {
		if top := n.top().test; !slices.Contains(tests[n.pkg], top) {
			tests[n.pkg] = append(tests[n.pkg], top)
		}
	}
	if len(tests) > 0 {
		fmt.Printf("%s: %d tests that were skipped, without the race detector\n", module, len(race.skipped))
	}
	for _, pkg := range slices.Sorted(maps.Keys(tests)) {
		only := "-run=^(" + strings.Join(tests[pkg], "|") + ")$"
		if err := goTest(plain, module, slices.Concat(flags, []string{"-count=1", only, pkg})); err != nil {
			return nil, err
		}
	}
	return plain, nil
}

// goTest runs go test -json and adds what it prints to t. A failed test is not an error.
func goTest(t *tally, module string, args []string) error {
	dir, err := filepath.Abs(module)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := t.read(out)
	io.Copy(io.Discard, out)
	err = cmd.Wait()
	if err != nil && len(t.failed) == 0 {
		return cmp.Or(readErr, fmt.Errorf("go test %s: %w", strings.Join(args, " "), err))
	}
	return readErr
}

func list(names []name) (lines []string) {
	for _, n := range names {
		lines = append(lines, n.String())
	}
	return lines
}
