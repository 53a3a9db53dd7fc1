package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestAgain: what a package skipped is known when it ends, and is run together with what arrives meanwhile.
func TestAgain(t *testing.T) {
	rests := make(chan rest, 4)
	tl := newTally(io.Discard, time.Now)
	tl.onEnd = func(pkg string) { rests <- rest{pkg, tl.again(pkg)} }
	end := func(pkg string, skipped ...string) {
		for _, test := range skipped {
			tl.add(event{Action: "skip", Package: pkg, Test: test})
		}
		tl.add(event{Action: "pass", Package: pkg})
	}
	end("m/a", "TestB", "TestA/2", "TestA/1")
	var runs []string
	err := runAgain(rests, func(tests, packages []string) error {
		runs = append(runs, strings.Join(tests, " ")+" in "+strings.Join(packages, " "))
		if len(runs) == 1 {
			end("m/b", "TestC", "TestB")
			end("m/c", "TestB")
			close(rests)
		}
		return nil
	})
	if got, want := strings.Join(runs, ", "), "TestA TestB in m/a, TestB TestC in m/b m/c"; got != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	broken := make(chan rest, 1)
	broken <- rest{"m/a", []string{"TestA"}}
	if err := runAgain(broken, func(_, _ []string) error { return errors.New("no go") }); err == nil {
		t.Error("no error of a run that cannot start")
	}
}
