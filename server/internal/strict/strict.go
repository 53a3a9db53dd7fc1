// Package strict reads JSON objects of which nothing may be ignored, because what was
// misspelt, or is there twice, may have been meant to take something away.
package strict

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unmarshal decodes text into a struct. Text must be one JSON object without unknown and
// repeated members, and none of its own members may be null. The error names no value but
// that of a ValueError; if a member is unknown, it names known, the members that there are.
func Unmarshal(text []byte, into any, known string) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return errors.New("a member is there more than once")
		}
		return errors.New("not one JSON object")
	}
	for name, value := range members {
		if value.Kind() == 'n' {
			return fmt.Errorf("member %.40q is null: leave it out, or give a value", name)
		}
	}
	err := json.Unmarshal(text, into, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return errors.New("not one JSON object")
	}
	if v, ok := errors.AsType[*ValueError](err); ok {
		if v.Value == nil {
			return fmt.Errorf("unknown member %s: want %s", Path(e.JSONPointer), v.Want)
		}
		return fmt.Errorf("%s %w", Path(e.JSONPointer), v)
	}
	path := strings.TrimPrefix(string(e.JSONPointer), "/") // as in limits/messages
	switch {
	case !errors.Is(err, json.ErrUnknownName):
		return fmt.Errorf("member %.40q has the wrong type or value: it is %s", path, KindName(e.JSONKind))
	case strings.Contains(path, "/"):
		return fmt.Errorf("unknown member %.40q", path)
	}
	return fmt.Errorf("unknown member %.40q: want %s", e.JSONPointer.LastToken(), known)
}
