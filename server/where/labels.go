package where

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// MaxLabels bounds the labels of a session.
	MaxLabels = 16
	// MaxName and MaxValue bound the name and value of a label, in bytes.
	MaxName, MaxValue = 64, 256
)

// Labels are the labels of a session: names and values in the order of names, with a zero
// byte after each. Labels with the same names and values are equal.
type Labels string

// MakeLabels returns Labels of a map, or an error that says which of them is not allowed.
func MakeLabels(m map[string]string) (Labels, error) {
	if len(m) > MaxLabels {
		return "", fmt.Errorf("%d labels: want at most %d", len(m), MaxLabels)
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !validName(name) {
			return "", fmt.Errorf("label %.80q: want a name of at most %d letters, digits, and _ . -, which begins with a letter or _ and is not has or in", name, MaxName)
		}
		value := m[name]
		if len(value) > MaxValue || !utf8.ValidString(value) || strings.ContainsFunc(value, isControl) {
			return "", fmt.Errorf("label %s has the value %.80q: want at most %d bytes of UTF-8 without control characters", name, value, MaxValue)
		}
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(value)
		b.WriteByte(0)
	}
	return Labels(b.String()), nil
}

// Map returns the labels as a map, nil if there are none.
func (l Labels) Map() map[string]string {
	if l == "" {
		return nil
	}
	m := make(map[string]string)
	for rest := string(l); rest != ""; {
		var name, value string
		name, rest, _ = strings.Cut(rest, "\x00")
		value, rest, _ = strings.Cut(rest, "\x00")
		m[name] = value
	}
	return m
}

// get returns the value of a label.
func (l Labels) get(name string) (value string, has bool) {
	for rest := string(l); rest != ""; {
		end := strings.IndexByte(rest, 0)
		known := rest[:end]
		rest = rest[end+1:]
		end = strings.IndexByte(rest, 0)
		if known == name {
			return rest[:end], true
		}
		if known > name {
			break
		}
		rest = rest[end+1:]
	}
	return "", false
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// nameLength returns the length of the name at the beginning of s, 0 if there is none.
func nameLength(s string) int {
	if s == "" || !isLetter(s[0]) {
		return 0
	}
	n := 1
	for n < len(s) && (isLetter(s[n]) || isDigit(s[n]) || s[n] == '.' || s[n] == '-') {
		n++
	}
	return n
}

func validName(s string) bool {
	return s != "" && len(s) <= MaxName && nameLength(s) == len(s) && s != "has" && s != "in"
}
