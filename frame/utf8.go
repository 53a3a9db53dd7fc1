package frame

import "unicode/utf8"

// validPrefix checks text that may end in the middle of a rune. It returns the length of p without the
// incomplete rune, and whether p can be the beginning of valid UTF-8. ok is false as soon as no
// continuation can make p valid, so F4 90 fails although a rune that begins with F4 has four bytes.
func validPrefix(p []byte) (n int, ok bool) {
	n = len(p)
	// A rune has at most four bytes, so an incomplete one begins in the last three.
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
