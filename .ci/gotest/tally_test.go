package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const events = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"    a_test.go:1: noise\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"m/a","Test":"TestCost/echo","Output":"=== RUN   TestCost/echo\n"}
{"Action":"output","Package":"m/a","Test":"TestCost/echo","Output":"    a_test.go:9: the race detector allocates\n"}
{"Action":"output","Package":"m/a","Test":"TestCost/echo","Output":"--- SKIP: TestCost/echo (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestCost/echo","Elapsed":0}
{"Action":"pass","Package":"m/a","Test":"TestCost","Elapsed":0}
{"Action":"pass","Package":"m/a","Elapsed":1.25}
{"Action":"start","Package":"m/b"}
{"Action":"output","Package":"m/b","Test":"TestBad","Output":"    b_test.go:2: got 1, want 2\n"}
{"Action":"fail","Package":"m/b","Test":"TestBad","Elapsed":0.1}
{"Action":"output","Package":"m/b","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b\t2s\n"}
{"Action":"fail","Package":"m/b","Elapsed":2}
{"Action":"skip","Package":"m/c","Elapsed":0}
{"ImportPath":"m/d","Action":"build-output","Output":"d.go:1: syntax error\n"}
{"ImportPath":"m/d","Action":"build-fail"}
`

func TestTally(t *testing.T) {
	var out strings.Builder
	tl := newTally(&out, time.Now)
	if err := tl.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ok   m/a 1.2s, 2 tests, 1 skipped\n", "got 1, want 2", "test timed out", "FAIL m/b 2.0s", "ok   m/c, without tests", "syntax error",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "noise") {
		t.Error("the output of a test that passed is printed")
	}
	if got := strings.Join(list(tl.failed), ", "); got != "m/b TestBad, m/b , m/d (build)" {
		t.Errorf("failed: %s", got)
	}
	n := name{"m/a", "TestCost/echo"}
	if why := tl.skipped[n]; len(tl.skipped) != 1 || why != "a_test.go:9: the race detector allocates" {
		t.Errorf("skipped: %v", tl.skipped)
	}
	if n.top().test != "TestCost" {
		t.Error(n.top())
	}
	if err := tl.read(strings.NewReader("{")); err == nil {
		t.Error("half an event is not an error")
	}
}

// TestCompare: a test that the first pass skips has to be seen in the second one.
func TestCompare(t *testing.T) {
	pass := func(actions ...string) *tally {
		tl := newTally(io.Discard, time.Now)
		for _, a := range actions {
			action, test, _ := strings.Cut(a, " ")
			pkg, test, _ := strings.Cut(test, " ")
			tl.add(event{Action: action, Package: pkg, Test: test})
		}
		return tl
	}
	for _, tt := range []struct {
		name                       string
		race, plain                *tally
		failed, skipped, unreached string
	}{
		{"runs then", pass("skip a T"), pass("pass a T"), "", "", ""},
		{"fails then", pass("skip a T"), pass("fail a T"), "a T", "", ""},
		{"is skipped twice", pass("skip a T"), pass("skip a T"), "", "a T", ""},
		{"is not reached", pass("skip a T"), pass("pass a U"), "", "", "a T"},
		{"is of another package", pass("skip a T"), pass("pass b T"), "", "", "a T"},
		{"has a new name", pass("pass a T", "skip a T/x1"), pass("pass a T", "pass a T/x2"), "", "", "a T/x1"},
		{"is a part of one that is skipped then", pass("pass a T", "skip a T/x"), pass("skip a T"), "", "", "a T/x"},
		{"has a namesake", pass("skip a T", "pass b T"), pass("pass a T", "skip b T"), "", "", ""},
	} {
		r := compare(tt.race, tt.plain)
		var skipped []name
		for _, s := range r.skipped {
			skipped = append(skipped, s.name)
		}
		for what, c := range map[string][2]string{
			"failed": {strings.Join(list(r.failed), ", "), tt.failed}, "skipped": {strings.Join(list(skipped), ", "), tt.skipped},
			"unreached": {strings.Join(list(r.unreached), ", "), tt.unreached},
		} {
			if c[0] != c[1] {
				t.Errorf("a test that %s: %s: %q, want %q", tt.name, what, c[0], c[1])
			}
		}
	}
}

// TestLongestFirst lists this module.
func TestLongestFirst(t *testing.T) {
	if got, err := longestFirst("."); err != nil || len(got) != 1 || got[0] != "gotest" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := longestFirst("../.."); err != nil || !slices.Contains(got[:3], "fanfare/cmd/fanfare") || !slices.Contains(got[:3], "fanfare/server/inbox") {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := longestFirst("/nowhere"); err == nil {
		t.Error("no error for a missing directory")
	}
}

func TestStillRunning(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	tl := newTally(&out, func() time.Time { return now })
	tl.add(event{Action: "start", Package: "m/slow"})
	now = now.Add(quiet - 1)
	tl.add(event{Action: "output", Package: "m/slow", Test: "T"})
	if out.Len() > 0 {
		t.Error(out.String())
	}
	now = now.Add(2)
	tl.add(event{Action: "output", Package: "m/slow", Test: "T"})
	if !strings.Contains(out.String(), "still running: m/slow (30s)") {
		t.Errorf("%q", out.String())
	}
}

func TestRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips")
	write := func(text string) ([]rule, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readRules(file)
	}
	rules, err := write("# comment\n\nm/a TestX # needs root\nm/a TestY/* # needs a network\n")
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[name]string{
		{"m/a", "TestX"}: "needs root", {"m/b", "TestX"}: "", {"m/a", "TestX/sub"}: "", {"m/a", "TestY/sub"}: "needs a network", {"m/a", "TestY"}: "",
	} {
		if got := allowed(rules, n); got != want {
			t.Errorf("%s: %q, want %q", n, got, want)
		}
	}
	for _, bad := range []string{"m/a TestX", "m/a TestX #", "m/a # why", "m/a [ # why"} {
		if _, err := write(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestSkips checks the list that is used.
func TestSkips(t *testing.T) {
	rules, err := readRules("../skips")
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) > 12 {
		t.Errorf("%d rules: the list is to be short", len(rules))
	}
}
