package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// An event is a line that go test -json prints.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a failed build
	Test       string
	Output     string
	Elapsed    float64
}

// name identifies a test: its package and its full name.
type name struct{ pkg, test string }

// top is the test function that a subtest belongs to.
func (n name) top() name {
	n.test, _, _ = strings.Cut(n.test, "/")
	return n
}

func (n name) String() string { return n.pkg + " " + n.test }

// A tally counts what the tests of one pass came to, and prints a line per package.
type tally struct {
	out     io.Writer
	now     func() time.Time
	began   map[string]time.Time // packages that are running
	output  map[name][]string    // of tests that are running, and of packages under the name ""
	ended   map[name]bool        // tests that passed or failed
	skipped map[name]string      // and why
	failed  []name
	printed time.Time
	note    string // at the end of the line of a package
	onEnd   func(pkg string)
}

func newTally(out io.Writer, now func() time.Time) *tally {
	return &tally{
		out: out, now: now, printed: now(), began: map[string]time.Time{}, output: map[name][]string{}, ended: map[name]bool{}, skipped: map[name]string{},
		onEnd: func(string) {},
	}
}

// read takes the output of go test -json.
func (t *tally) read(r io.Reader) error {
	d := json.NewDecoder(r)
	for {
		var e event
		if err := d.Decode(&e); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("output of go test -json: %w", err)
		}
		t.add(e)
	}
}

// quiet is how long no package ends before the ones that run are printed.
const quiet = 30 * time.Second

func (t *tally) add(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "start":
		t.began[e.Package] = t.now()
		if len(t.began) == 1 {
			t.printed = t.now() // building took the time before
		}
	case "build-output":
		t.print("%s", e.Output)
	case "build-fail":
		t.failed = append(t.failed, name{e.ImportPath, "(build)"})
	case "output":
		t.output[n] = append(t.output[n], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.end(e)
		} else {
			t.endTest(n, e.Action)
		}
	}
	if t.now().Sub(t.printed) > quiet && len(t.began) > 0 {
		t.print("     still running: %s\n", t.running())
	}
}

func (t *tally) endTest(n name, action string) {
	switch action {
	case "skip":
		t.skipped[n] = reason(t.output[n])
	case "fail":
		t.failed = append(t.failed, n)
		t.print("%s", strings.Join(t.output[n], ""))
		t.ended[n] = true
	default:
		t.ended[n] = true
	}
	delete(t.output, n)
}

// end prints a line about a package.
func (t *tally) end(e event) {
	pkg := name{e.Package, ""}
	delete(t.began, e.Package)
	ran, skipped := 0, 0
	for n := range t.ended {
		if n.pkg == e.Package {
			ran++
		}
	}
	for n := range t.skipped {
		if n.pkg == e.Package {
			skipped++
		}
	}
	switch e.Action {
	case "fail":
		// Output of a test that had not ended: it panicked, or ran out of time.
		for n, lines := range t.output {
			if n.pkg == e.Package && n.test != "" {
				t.print("%s", strings.Join(lines, ""))
			}
		}
		t.print("%sFAIL %s %.1fs\n", strings.Join(t.output[pkg], ""), e.Package, e.Elapsed)
		t.failed = append(t.failed, pkg)
	case "skip":
		t.print("ok   %s, without tests\n", e.Package)
	default:
		t.print("ok   %s %.1fs, %d tests, %d skipped%s\n", e.Package, e.Elapsed, ran, skipped, t.note)
	}
	for n := range t.output {
		if n.pkg == e.Package {
			delete(t.output, n)
		}
	}
	t.onEnd(e.Package)
}

// running lists the packages that are, with the time since their start.
func (t *tally) running() string {
	var all []string
	for pkg, began := range t.began {
		all = append(all, fmt.Sprintf("%s (%.0fs)", pkg, t.now().Sub(began).Seconds()))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (t *tally) print(format string, args ...any) {
	t.printed = t.now()
	fmt.Fprintf(t.out, format, args...)
}

// reason finds the text of t.Skip in the output of a skipped test.
func reason(output []string) string {
	var lines []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- SKIP") {
			lines = append(lines, line)
		}
	}
	return cmp.Or(strings.Join(lines, " "), "no reason given")
}

// names returns the skipped tests, sorted.
func (t *tally) names() []name {
	var all []name
	for n := range t.skipped {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b name) int { return cmp.Compare(a.String(), b.String()) })
	return all
}

// again returns the test functions of a package that were skipped or had a subtest skipped.
func (t *tally) again(pkg string) (tests []string) {
	for n := range t.skipped {
		if n.pkg == pkg {
			tests = append(tests, n.top().test)
		}
	}
	slices.Sort(tests)
	return slices.Compact(tests)
}

// reached reports whether a test ran or was skipped.
func (t *tally) reached(n name) bool {
	_, skipped := t.skipped[n]
	return skipped || t.ended[n]
}
