package main

import (
	"strings"
	"testing"

	"fanfare/server"
)

// TestDocsCapabilities compares the table of elements and names with the program.
func TestDocsCapabilities(t *testing.T) {
	withoutRace(t)
	_, table, found := strings.Cut(document(t, flagsDocument), "| element |")
	table, _, ended := strings.Cut(table, "\n\n")
	if !found || !ended {
		t.Fatal("found no table of elements")
	}
	lines := strings.Split(table, "\n")
	cells := func(line string) (all []string) {
		for cell := range strings.SplitSeq(strings.Trim(line, "| "), "|") {
			all = append(all, strings.Trim(cell, " `"))
		}
		return all
	}
	names := cells(lines[0])
	if len(names) != 4 || len(lines) != 6 {
		t.Fatalf("names %q, %d lines", names, len(lines))
	}
	for _, line := range lines[2:] {
		row := append(cells(line), make([]string, len(names))...) // Trim has cut empty cells
		for i, name := range names {
			if allows := server.Covers(row[:1], name); allows != (row[1+i] == "yes") {
				t.Errorf("%s allows %s: %t, the table says %q", row[0], name, allows, row[1+i])
			}
		}
	}
}
