// Package similar finds the known name that was probably meant by an unknown one, for
// messages about misspelt parameters, fields and variables.
package similar

import "strings"

// maxBytes bounds what is compared of an unknown name, which may come from a client.
const maxBytes = 64

// Nearest returns the known name that the fewest edits make of an unknown one, the first
// of several, and the number of edits. An edit inserts, deletes or replaces a byte, or swaps
// two neighbors. Case does not count, and neither does what follows the first 64 bytes of
// name. If nothing is known, nearest is empty.
func Nearest(name string, known []string) (nearest string, edits int) {
	name = strings.ToLower(name[:min(len(name), maxBytes)])
	edits = len(name)
	for i, k := range known {
		if n := distance(name, strings.ToLower(k)); i == 0 || n < edits {
			nearest, edits = k, n
		}
	}
	return nearest, edits
}

// distance returns the number of edits between two strings (optimal string alignment).
func distance(a, b string) int {
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
