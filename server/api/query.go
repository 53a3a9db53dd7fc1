package api

import (
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// checkQuery rejects unknown and repeated parameters, because a misspelt one would change
// what happens.
func checkQuery(args *fasthttp.Args, known []string) *problem {
	var seen uint
	for k := range args.All() {
		i := slices.Index(known, string(k))
		switch {
		case i < 0:
			return problemf(400, "bad_query", "unknown parameter %.40q%s", k, suggest(string(k), known))
		case seen&(1<<i) != 0 && known[i] != "name[]":
			return problemf(400, "bad_query", "parameter %q comes twice", known[i])
		}
		seen |= 1 << i
	}
	return nil
}

// suggest returns the end of a message about an unknown name: the known name that was
// probably meant, and all known names.
func suggest(name string, known []string) string {
	if len(known) == 0 {
		return "; want none here"
	}
	want := "want " + strings.Join(known, ", ")
	best := slices.MinFunc(known, func(x, y string) int { return distance(name, x) - distance(name, y) })
	if distance(name, best) <= max(len(best)/2, 1) {
		return "; did you mean \"" + best + "\"? " + want
	}
	return "; " + want
}

// distance returns the number of edits that turn a into b, where an edit inserts, deletes or
// replaces a byte, or swaps two neighbors (optimal string alignment). It ignores case, and
// all but the first 40 bytes of a.
func distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), 40)]), strings.ToLower(b)
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
