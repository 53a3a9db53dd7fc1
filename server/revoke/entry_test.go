package revoke

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Entry
		err  string
	}{
		{text: `{"user":"alice"}`, want: Entry{User: "alice"}},
		{text: `{"user":"alice","before":1800000000.5}`, want: Entry{User: "alice", Before: 1800000000.5}},
		{text: `{"token":"t1","expires":1800000100}`, want: Entry{Token: "t1", Expires: 1800000100}},
		{text: `{"all":true,"before":1800000000}`, want: Entry{All: true, Before: 1800000000}},
		{text: ``, err: "not one JSON object"},
		{text: `[]`, err: "not one JSON object"},
		{text: `{}`, err: "names 0 of user, token and all"},
		{text: `{"user":"a","token":"b"}`, err: "names 2 of user, token and all"},
		{text: `{"all":true}`, err: "all needs before"},
		{text: `{"all":false}`, err: "all is false"},
		{text: `{"user":""}`, err: "user is empty"},
		{text: `{"token":""}`, err: "token is empty"},
		{text: `{"token":"t","before":1}`, err: "before goes with user or all"},
		{text: `{"user":"a","before":0}`, err: "before is 0"},
		{text: `{"user":"a","expires":-1}`, err: "expires is -1"},
		{text: `{"user":"a","before":null}`, err: `member "before" is null`},
		{text: `{"user":"a","before":"now"}`, err: `member "before" has the wrong type`},
		{text: `{"user":"a","befor":1}`, err: `unknown member "befor"`},
		{text: `{"user":"a","user":"b"}`, err: "more than once"},
		{text: `{"user":"` + strings.Repeat("x", maxName+1) + `"}`, err: "more than 1024 bytes"},
	} {
		e, err := Parse([]byte(tt.text))
		switch {
		case tt.err == "" && (err != nil || e != tt.want):
			t.Errorf("%s: %+v, %v", tt.text, e, err)
		case tt.err != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: the error is %v, want %s", tt.text, err, tt.err)
		}
	}
}

// TestComplete: the times of an entry are bounded by those of its creation.
func TestComplete(t *testing.T) {
	now, age := time.Unix(began, 0), time.Hour
	for _, tt := range []struct {
		e       Entry
		expires int64
		err     string
	}{
		{e: Entry{User: "a"}, expires: began + 3600},
		{e: Entry{User: "a", Expires: began + 10}, expires: began + 10},
		{e: Entry{User: "a", Before: began + maxAhead}, expires: began + 3600},
		{e: Entry{User: "a", Before: began * 1000}, err: "in the future"},
		{e: Entry{User: "a", Expires: began}, err: "has passed"},
		{e: Entry{User: "a", Expires: began + 3601}, err: "last for 1h0m0s at most"},
	} {
		e := tt.e
		err := e.complete(now, age)
		switch {
		case tt.err == "" && (err != nil || e.Expires != tt.expires || e.Created != began || len(e.ID) != 32):
			t.Errorf("%+v: %+v, %v", tt.e, e, err)
		case tt.err != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%+v: the error is %v, want %s", tt.e, err, tt.err)
		}
	}
}

// TestDecode: what one node encodes another one reads, and nothing else.
func TestDecode(t *testing.T) {
	ids := make(map[string]bool)
	for _, e := range []Entry{{User: "a"}, {User: "a", Before: 5}, {All: true, Before: 5}, {Token: "a"}, {User: "\u0001ü\""}} {
		if err := e.complete(time.Unix(began, 0), time.Hour); err != nil {
			t.Fatal(err)
		}
		got, err := Decode(e.Encode())
		if err != nil || got != e || ids[e.ID] {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
		ids[e.ID] = true
	}
	for _, text := range []string{``, `{"user":"a"}`, `{"id":"x","user":"a"}`, `{"all":true}`} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
