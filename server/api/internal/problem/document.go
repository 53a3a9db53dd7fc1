package problem

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/internal/similar"
)

// UnknownField is an error of a decoder of documents.
type UnknownField struct {
	Name  string
	At    int64    // at or before its first byte
	Known []string // the names of the document's fields
}

func (e *UnknownField) Error() string {
	return fmt.Sprintf("unknown field %.40q%s", e.Name, Suggest(e.Name, e.Known))
}

// Document describes what is wrong with b, and where. It quotes at most one character of
// b, or the beginning of a name.
func Document(b []byte, err error) *Problem {
	var unknown *UnknownField
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	var alphabet base64.CorruptInputError
	switch {
	case errors.As(err, &unknown):
		at := int(unknown.At) + bytes.IndexByte(b[unknown.At:], '"')
		return Errorf(400, "bad_json", "at byte %d: %s", at, unknown)
	case len(bytes.TrimSpace(b)) == 0:
		return Errorf(400, "bad_json", "the document is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Errorf(400, "bad_json", "at byte %d: the document ends too early", len(b))
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return Errorf(400, "bad_json", "at byte %d: field %.40q comes twice", syntax.ByteOffset, syntax.JSONPointer.LastToken())
	case errors.As(err, &syntax):
		return Errorf(400, "bad_json", "at byte %d: %s", syntax.ByteOffset, syntax.Err)
	case errors.As(err, &alphabet):
		return Errorf(400, "bad_json", "base64: invalid character at byte %d of it", int64(alphabet))
	case errors.As(err, &semantic):
		return Errorf(400, "bad_json", "at byte %d: %s cannot be %s", semantic.ByteOffset, placeOf(semantic.JSONPointer), kindOf(semantic.JSONKind))
	}
	return Errorf(400, "bad_json", "%s", err)
}

// placeOf names a field of a document, as in "users[2]".
func placeOf(p jsontext.Pointer) string {
	if p == "" {
		return "the document"
	}
	field, index, has := strings.Cut(string(p[1:]), "/")
	if has {
		field += "[" + index + "]"
	}
	return field
}

func kindOf(k jsontext.Kind) string {
	switch k {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	case jsontext.KindNumber, jsontext.KindString:
		return "a " + k.String()
	}
	return k.String()
}

// InvalidAt returns where text stops being UTF-8.
func InvalidAt(b []byte) (at int) {
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// Suggest returns the end of a message about an unknown name: the known name that was
// probably meant, and all known names.
func Suggest(name string, known []string) string {
	if len(known) == 0 {
		return "; want none here"
	}
	want := "want " + strings.Join(known, ", ")
	if best, edits := similar.Nearest(name, known); edits <= max(len(best)/2, 1) {
		return "; did you mean \"" + best + "\"? " + want
	}
	return "; " + want
}
