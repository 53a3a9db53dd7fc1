package api

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
)

// unknownField is an error of document.decode.
type unknownField struct {
	name string
	at   int64 // at or before its first byte
}

func (e *unknownField) Error() string {
	return fmt.Sprintf("unknown field %.40q%s", e.name, suggest(e.name, documentFields))
}

// notDocument describes what is wrong with b, and where. It quotes at most one character of
// b, or the beginning of a name.
func notDocument(b []byte, err error) *problem {
	var unknown *unknownField
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	var alphabet base64.CorruptInputError
	switch {
	case errors.As(err, &unknown):
		at := int(unknown.at) + bytes.IndexByte(b[unknown.at:], '"')
		return problemf(400, "bad_json", "at byte %d: %s", at, unknown)
	case len(bytes.TrimSpace(b)) == 0:
		return problemf(400, "bad_json", "the document is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return problemf(400, "bad_json", "at byte %d: the document ends too early", len(b))
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return problemf(400, "bad_json", "at byte %d: field %.40q comes twice", syntax.ByteOffset, syntax.JSONPointer.LastToken())
	case errors.As(err, &syntax):
		return problemf(400, "bad_json", "at byte %d: %s", syntax.ByteOffset, syntax.Err)
	case errors.As(err, &alphabet):
		return problemf(400, "bad_json", "base64: invalid character at byte %d of it", int64(alphabet))
	case errors.As(err, &semantic):
		return problemf(400, "bad_json", "at byte %d: %s cannot be %s", semantic.ByteOffset, placeOf(semantic.JSONPointer), kindOf(semantic.JSONKind))
	}
	return problemf(400, "bad_json", "%s", err)
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

// invalidAt returns where text stops being UTF-8.
func invalidAt(b []byte) (at int) {
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}
