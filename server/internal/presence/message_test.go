package presence

import (
	"reflect"
	"testing"
)

// TestMessage: what is encoded is decoded, and no part of it, nor anything longer, is a
// message with other items.
func TestMessage(t *testing.T) {
	for _, m := range []Message{
		{Kind: Lead, Term: 7, Round: 1 << 40},
		{Kind: Bye},
		{Kind: Part, Term: 1, Session: 2, Number: 3, Last: true, Items: []Item{{NameOf(User, "älice"), true}, {NameOf(Topic, "t"), false}}},
	} {
		b := m.Encode()
		if got, err := Decode(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v, %v: want %+v", got, err, m)
		}
		for i := range len(b) {
			if got, err := Decode(b[:i]); err == nil && len(got.Items) >= len(m.Items) && len(m.Items) > 0 {
				t.Errorf("%q is %+v", b[:i], got)
			}
		}
		if got, err := Decode(append(b, 2, 1)); err == nil {
			t.Errorf("%+v follows what is malformed", got)
		}
	}
	for _, b := range []string{"", "\x01", "\x02\x01\x00\x00\x00\x00\x00", "\x01\x09\x00\x00\x00\x00\x00", "\x01\x03\x00\x00\x00\x00\x00\x01\x02x!"} {
		if m, err := Decode([]byte(b)); err == nil {
			t.Errorf("%q is %+v", b, m)
		}
	}
}
