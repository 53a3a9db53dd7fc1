package where

import "strings"

// version returns the numbers of a version, without what precedes and follows them.
func version(s string) (numbers string, ok bool) {
	if s != "" && s[0]|0x20 == 'v' {
		s = s[1:]
	}
	if end := strings.IndexAny(s, "-+ "); end >= 0 {
		s = s[:end]
	}
	digits := 0
	for i := range len(s) {
		switch {
		case isDigit(s[i]):
			digits++
		case s[i] == '.' && digits > 0:
			digits = 0
		default:
			return "", false
		}
	}
	return s, digits > 0
}

// compareVersions compares what version has returned: it is negative if a is less than b.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}
