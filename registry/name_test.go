package registry

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCheckName(t *testing.T) {
	for _, test := range []struct {
		about, name, want string // want is the text of the error, empty if the name is valid
	}{
		{"one byte", "a", ""},
		{"a space", " ", ""},
		{"punctuation", `a/b.c?d=e&f#"g"~`, ""},
		{"runes of two to four bytes", "žluťoučký 馬 🐎", ""},
		{"the replacement character itself", "\uFFFD", ""},
		{"first rune after C1", "\u00a0", ""},
		{"last rune", "\U0010ffff", ""},
		{"maximum length", strings.Repeat("x", 256), ""},
		{"maximum length, in runes of four bytes", strings.Repeat("🐎", 64), ""},

		{"empty", "", "bad name: empty"},
		{"too long", strings.Repeat("x", 257), "bad name: 257 bytes, at most 256 are allowed"},
		{"NUL", "ab\x00c", "bad name: control character U+0000 at byte 2"},
		{"newline", "a\n", "bad name: control character U+000A at byte 1"},
		{"last control character of C0", "\x1f", "bad name: control character U+001F at byte 0"},
		{"DEL", "é\x7f", "bad name: control character U+007F at byte 2"},
		{"first control character of C1", "\u0080", "bad name: control character U+0080 at byte 0"},
		{"last control character of C1", "a\u009f", "bad name: control character U+009F at byte 1"},
		{"lone continuation byte", "a\x80", "bad name: invalid UTF-8 at byte 1"},
		{"incomplete rune", "ab\xf0\x9f\x90", "bad name: invalid UTF-8 at byte 2"},
		{"overlong", "\xc0\xaf", "bad name: invalid UTF-8 at byte 0"},
		{"surrogate", "x\xed\xa0\x80", "bad name: invalid UTF-8 at byte 1"},
		{"beyond Unicode", "\xf4\x90\x80\x80", "bad name: invalid UTF-8 at byte 0"},
	} {
		t.Run(test.about, func(t *testing.T) {
			err := CheckName(test.name)
			switch {
			case err == nil && test.want != "":
				t.Fatalf("accepted, want %q", test.want)
			case err != nil && err.Error() != test.want:
				t.Fatalf("got %q, want %q", err, test.want)
			case err != nil && !errors.Is(err, ErrName):
				t.Fatalf("%v does not wrap ErrName", err)
			}
		})
	}
}

func FuzzCheckName(f *testing.F) {
	f.Add("alice")
	f.Add("\xff\u0085\n")
	f.Fuzz(func(t *testing.T, name string) {
		valid := name != "" && len(name) <= 256 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
		if err := CheckName(name); (err == nil) != valid {
			t.Fatalf("CheckName(%q) = %v, want valid = %v", name, err, valid)
		}
	})
}
