package frame

import (
	"testing"
	"unicode/utf8"
)

func TestValidPrefix(t *testing.T) {
	for _, tt := range []struct {
		p  string
		n  int
		ok bool
	}{
		{"", 0, true},
		{"a", 1, true},
		{"a\xc3", 1, true},
		{"a\xe2\x82", 1, true},
		{"a\xf0\x9d\x84", 1, true},
		{"a\xf0\x9d\x84\x9e", 5, true},
		{"\xf0\x9d\x84\x9e\xf0", 4, true},
		{"\x80", 1, false},
		{"\xf4\x90", 2, false},
		{"\xed\xa0", 2, false},
		{"\xe0\x80", 2, false},
		{"\xf8", 1, false},
		{"\xc0", 1, false},
		{"ab\xffcd\xc3", 5, false},
		{"\xf0\x9d\x84\x84\x84", 5, false},
	} {
		if n, ok := validPrefix([]byte(tt.p)); n != tt.n || ok != tt.ok {
			t.Errorf("validPrefix(%q) = %d, %v, want %d, %v", tt.p, n, ok, tt.n, tt.ok)
		}
	}
}

// firstInvalid returns the length of the shortest prefix of p that no continuation makes valid, or len(p)+1. A
// prefix can become valid if it is valid, or if one, two or three bytes complete it; A0, 90, 8F and 80 stand
// for all continuation bytes, because table 3-7 of Unicode has no other boundaries.
func firstInvalid(p []byte) int {
	for n := 1; n <= len(p); n++ {
		if !canBecomeValid(p[:n], 3) {
			return n
		}
	}
	return len(p) + 1
}

func canBecomeValid(p []byte, more int) bool {
	if utf8.Valid(p) {
		return true
	}
	if more == 0 {
		return false
	}
	for _, c := range []byte{0xa0, 0x90, 0x8f, 0x80} {
		if canBecomeValid(append(p[:len(p):len(p)], c), more-1) {
			return true
		}
	}
	return false
}

// FuzzUTF8 feeds text to a decoder byte by byte: it must fail at the first invalid byte and not before.
func FuzzUTF8(f *testing.F) {
	f.Add([]byte("a§€𝄞"))
	f.Add([]byte("\xf4\x90\x80\x80"))
	f.Add([]byte("\xed\xa0\x80"))
	f.Add([]byte("\xe2\x82"))
	f.Add([]byte("12345678\xc0\xaf"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 100 {
			return
		}
		invalid := firstInvalid(p)
		in := text(string(p))
		head := len(in) - len(p)
		var d Decoder
		defer d.Release()
		var g got
		for i := range in {
			g.feed(t, &d, new(Rules), in[i:i+1])
			want := i-head+1 == invalid || i == len(in)-1 && !utf8.Valid(p)
			if (g.code == 1007) != want {
				t.Fatalf("%q after byte %d: %v, the first invalid byte is %d", p, i-head+1, g, invalid)
			}
			if g.code != 0 {
				break
			}
		}
		if g := decode(t, new(Rules), in); (g.code == 0) != utf8.Valid(p) {
			t.Fatalf("%q whole: %v", p, g)
		}
	})
}
