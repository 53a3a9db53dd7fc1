package replay

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestStep compares the machine with the table in the comment of state, cell by cell.
func TestStep(t *testing.T) {
	source, err := os.ReadFile("state.go")
	if err != nil {
		t.Fatal(err)
	}
	var table [][]string
	for line := range strings.Lines(string(source)) {
		if cells, ok := strings.CutPrefix(line, "//\t"); ok {
			table = append(table, strings.Fields(cells))
		}
	}
	events := []string{"state", "open", "work", "take", "done", "wait", "retry", "end"}
	if len(table) != int(closed)+2 || !slices.Equal(table[0], events) {
		t.Fatalf("the table has %d lines, and the head %q", len(table), table[0])
	}
	for s, row := range table[1:] {
		if len(row) != len(events) || row[0] != state(s).String() {
			t.Fatalf("line %d of the table is %q", s, row)
		}
		for e, want := range row[1:] {
			if got := tryStep(state(s), event(e)); got != want {
				t.Errorf("%s, %s: got %s, the table has %s", row[0], events[e+1], got, want)
			}
		}
	}
}

// tryStep returns a transition as the table has it.
func tryStep(s state, e event) (got string) {
	defer func() {
		if recover() != nil {
			got = "-"
		}
	}()
	next, listed := step(s, e)
	switch got = next.String(); {
	case listed && e == evTake:
		return got + "*"
	case listed:
		return got + "+"
	}
	return got
}
