package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quoted are the packages from which the documents quote Go; the tests of each run it.
const quoted = docRoot + "/examples/embed/*.go"

// TestDocsGo checks that every block of Go is a part of a program that is compiled and
// tested: its lines follow each other there, at any depth of indentation.
func TestDocsGo(t *testing.T) {
	files, err := filepath.Glob(quoted)
	if err != nil || len(files) == 0 {
		t.Fatalf("found no programs at %s: %v", quoted, err)
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
				t.Errorf("%s: this is not in %s:\n%s", b, quoted, b.text)
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
