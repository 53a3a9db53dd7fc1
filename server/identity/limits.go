package identity

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/server/internal/strict"
)

// Limits are limits of one session, below those of the server. Zero: those of the
// server.
type Limits struct {
	// Messages per second, as Rate.Messages of package server.
	Messages int `json:"messages"`
	// Topics that the session subscribes to at a time, as Config.TopicsPerSession of package server.
	Topics int `json:"topics"`
}

// UnmarshalJSONFrom reads {"messages":10,"topics":5} strictly: an unknown member, and a
// number below 1, is an error, since a limit that is misspelled must not be none. A member
// that is null is not set.
func (l *Limits) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != '{' {
		v, err := in.ReadValue()
		if err != nil {
			return err
		}
		return strict.Semantic(v, "an object with messages and topics, numbers from 1")
	}
	var read struct {
		Messages bound `json:"messages"`
		Topics   bound `json:"topics"`
	}
	err := json.UnmarshalDecode(in, &read, json.RejectUnknownMembers(true))
	if e, ok := errors.AsType[*json.SemanticError](err); ok && errors.Is(err, json.ErrUnknownName) {
		e.Err = &strict.ValueError{Want: "messages or topics"}
	}
	if err != nil {
		return err
	}
	l.Messages, l.Topics = int(read.Messages), int(read.Topics)
	return nil
}

// bound is a number of Limits.
type bound int

var wantBound = fmt.Sprintf("a whole number from 1 to %d", math.MaxInt32)

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (b *bound) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	v, err := in.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() == 'n' { // as serializers write a field that is not set
		return nil
	}
	n, err := strconv.ParseInt(string(v), 10, 32)
	if err != nil || n < 1 {
		return strict.Semantic(v, wantBound)
	}
	*b = bound(n)
	return nil
}
