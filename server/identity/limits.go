package identity

import (
	"fmt"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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
// number below 1, is an error, since a limit that is misspelled must not be none.
func (l *Limits) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != '{' {
		v, err := in.ReadValue()
		if err != nil {
			return err
		}
		return &json.SemanticError{JSONKind: v.Kind(), Err: errLimits}
	}
	var read struct {
		Messages *int `json:"messages"`
		Topics   *int `json:"topics"`
	}
	if err := json.UnmarshalDecode(in, &read, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	for _, f := range []struct{ from, to *int }{{read.Messages, &l.Messages}, {read.Topics, &l.Topics}} {
		if f.from == nil {
			continue
		}
		if *f.from < 1 || *f.from > math.MaxInt32 {
			return &json.SemanticError{JSONKind: '0', Err: errLimits}
		}
		*f.to = *f.from
	}
	return nil
}

var errLimits = fmt.Errorf("want an object with the numbers messages and topics, from 1 to %d", math.MaxInt32)
