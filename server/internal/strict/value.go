package strict

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A ValueError says that a value is not what a member may have. It is the Err of a
// json.SemanticError, which has the place.
type ValueError struct {
	Value jsontext.Value // nil: the name of the member is unknown
	Want  string
}

// longestValue bounds a value that an error quotes, in bytes.
const longestValue = 40

func (e *ValueError) Error() string {
	switch k := e.Value.Kind(); {
	case e.Value == nil:
		return "is unknown: want " + e.Want
	case k == '{' || k == '[' || k == 'n' || len(e.Value) > longestValue:
		return "is " + KindName(k) + ": want " + e.Want
	default:
		return "is " + string(e.Value) + ", " + KindName(k) + ": want " + e.Want
	}
}

// Unwrap returns json.ErrUnknownName if the name of the member is unknown.
func (e *ValueError) Unwrap() error {
	if e.Value == nil {
		return json.ErrUnknownName
	}
	return nil
}

// Semantic returns the json.SemanticError of a value that is not wanted.
func Semantic(v jsontext.Value, want string) error {
	return &json.SemanticError{JSONKind: v.Kind(), Err: &ValueError{v.Clone(), want}}
}

// Path returns the place of an error in a document, such as limits.messages or topics[0]. Each
// name is cut, and quoted if it is not a word.
func Path(at jsontext.Pointer) string {
	var b strings.Builder
	for name := range at.Tokens() {
		switch {
		case name != "" && strings.Trim(name, "0123456789") == "" && b.Len() > 0:
			b.WriteString("[" + cut(name) + "]")
			continue
		case b.Len() > 0:
			b.WriteByte('.')
		}
		if strings.ContainsFunc(name, func(r rune) bool { return !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') }) || name == "" {
			fmt.Fprintf(&b, "%.40q", name)
		} else {
			b.WriteString(cut(name))
		}
	}
	return b.String()
}

func cut(s string) string { return s[:min(len(s), longestValue)] }

// Wrong describes a ValueError with its place; ok is false if err has none.
func Wrong(err error) (text string, ok bool) {
	at, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return "", false
	}
	value, ok := errors.AsType[*ValueError](err)
	if !ok {
		return "", false
	}
	return Path(at.JSONPointer) + " " + value.Error(), true
}

// KindName names the type of a value.
func KindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return "of another type"
}
