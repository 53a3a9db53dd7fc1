package strict

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

type document struct {
	User   *string `json:"user"`
	Limits *struct {
		Messages int `json:"messages"`
	} `json:"limits"`
}

// The place of an error is bounded, and cannot forge text.
func TestPath(t *testing.T) {
	for pointer, want := range map[jsontext.Pointer]string{
		"":               "",
		"/limits/topics": "limits.topics",
		"/topics/12":     "topics[12]",
		"/7":             `"7"`,
		"/a~1b/c d":      `"a/b"."c d"`,
		"/x/":            `x.""`,
		"/a\n":           `"a\n"`,
		"/\u2028":        `"\u2028"`,
		jsontext.Pointer("/" + strings.Repeat("x", 99)): strings.Repeat("x", 40),
	} {
		if got := Path(pointer); got != want {
			t.Errorf("%q: got %s, want %s", pointer, got, want)
		}
	}
}

func TestUnmarshal(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`{}`, ""},
		{` {"user":"alice","limits":{"messages":1}} `, ""},
		{``, "not one JSON object"},
		{`null`, "not one JSON object"},
		{`[]`, "not one JSON object"},
		{`{} {}`, "not one JSON object"},
		{"{\"user\":\"\xff\"}", "not one JSON object"},
		{`{"user":"a","user":"b"}`, "a member is there more than once"},
		{`{"limits":{"messages":1,"messages":2}}`, "a member is there more than once"},
		{`{"user":null}`, `member "user" is null: leave it out, or give a value`},
		{`{"usr":"a"}`, `unknown member "usr": want user or limits`},
		{`{"a/b":"a"}`, `unknown member "a/b": want user or limits`},
		{`{"User":"a"}`, `unknown member "User": want user or limits`},
		{`{"limits":{"mesages":1}}`, `unknown member "limits/mesages"`},
		{`{"user":1}`, `member "user" has the wrong type or value: it is a number`},
		{`{"limits":{"messages":"1"}}`, `member "limits/messages" has the wrong type or value: it is a string`},
		{`{"` + strings.Repeat("x", 1000) + `":1}`, `unknown member "` + strings.Repeat("x", 40) + `": want user or limits`},
	} {
		var d document
		got := ""
		if err := Unmarshal([]byte(test.text), &d, "user or limits"); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%.60s: got %q, want %q", test.text, got, test.want)
		}
		if got == "" && strings.Contains(test.text, "alice") && (*d.User != "alice" || d.Limits.Messages != 1) {
			t.Errorf("%s: got %+v", test.text, d)
		}
	}
}
