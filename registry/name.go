package registry

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxName is the maximum length of the name of a user or a topic, in bytes.
const MaxName = 256

// ErrName is wrapped by every error about a name.
var ErrName = errors.New("bad name")

// CheckName checks the name of a user or a topic: 1 to MaxName bytes of valid UTF-8 without control
// characters (U+0000 to U+001F, U+007F to U+009F). The error, which wraps ErrName, says what is wrong and
// at which byte; it does not quote the name, which may be hostile.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrName, len(name), MaxName)
	}
	for i := 0; i < len(name); {
		if c := name[i]; c >= ' ' && c < 0x7f {
			i++
			continue
		}
		// A control character of ASCII, a rune above ASCII, or invalid.
		r, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return fmt.Errorf("%w: invalid UTF-8 at byte %d", ErrName, i)
		case r <= 0x9f:
			return fmt.Errorf("%w: control character %U at byte %d", ErrName, r, i)
		}
		i += size
	}
	return nil
}
