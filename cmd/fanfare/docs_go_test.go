package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quoted are the packages from which the documents quote Go; the tests of each run it.
var quoted = []string{docRoot + "/examples/embed/*.go", docRoot + "/client/example_test.go", docRoot + "/server/example_audience_test.go"}

// TestDocsGo checks that every block of Go is a part of a program that is compiled and
// tested: its lines follow each other there, at any depth of indentation.
func TestDocsGo(t *testing.T) {
	withoutRace(t)
	var files []string
	for _, pattern := range quoted {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("found no programs at %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	var programs strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		programs.WriteString("\n" + outdented(string(text)))
	}
	n := 0
	for file := range documents(t) {
		for _, b := range docBlocks(t, file, "go") {
			n++
			if !strings.Contains(programs.String(), "\n"+outdented(b.text)) {
				t.Errorf("%s: this is not in %q:\n%s", b, quoted, b.text)
			}
		}
	}
	if n < 9 {
		t.Errorf("found only %d blocks", n)
	}
}

// outdented is text without the indentation of its lines. The depth of lines relative to
// each other is gofmt's business.
func outdented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return b.String()
}
