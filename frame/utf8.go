package frame

import "unicode/utf8"

// validPrefix checks text that may end in the middle of a rune. It returns the
// length of p without such an end, and whether p can be the beginning of valid
// UTF-8: it is false from the first byte on that no continuation can mend, so
// F4 90 fails although a rune that begins with F4 has four bytes.
func validPrefix(p []byte) (n int, ok bool) {
	n = len(p)
	// A rune has at most four bytes, so only the last three can begin one
	// that is not complete.
	for i := n - 1; i >= 0 && i >= n-(utf8.UTFMax-1); i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				n = i
			}
			break
		}
	}
	return n, utf8.Valid(p[:n])
}
