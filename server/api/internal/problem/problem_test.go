package problem

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"
)

// TestDocument: an error names the place, and quotes little of the document.
func TestDocument(t *testing.T) {
	var d struct {
		Users []string `json:"users"`
		Data  []byte   `json:"data"`
	}
	for body, want := range map[string]string{
		"":                       "the document is empty",
		" \n":                    "the document is empty",
		`{"users":["a"`:          "at byte 13: the document ends too early",
		`{"users":["a",7]}`:      "at byte 14: users[1] cannot be a number",
		`{"users":{}}`:           "at byte 9: users cannot be an object",
		`[]`:                     "at byte 0: the document cannot be an array",
		`{"users":[],"users":1}`: `at byte 12: field "users" comes twice`,
		`{"data":"a?=="}`:        "base64: invalid character at byte 1 of it",
	} {
		err := json.Unmarshal([]byte(body), &d)
		if p := Document([]byte(body), err); p.Status != 400 || p.Code != "bad_json" || p.Message != want {
			t.Errorf("%s: %+v, want %s", body, p, want)
		}
	}
	p := Document([]byte(`{ "usres":1}`), &UnknownField{"usres", 1, []string{"users", "data"}})
	if want := `at byte 2: unknown field "usres"; did you mean "users"? want users, data`; p.Message != want {
		t.Errorf("got %s, want %s", p.Message, want)
	}
}

func TestInvalidAt(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "\xff": 0, "aé\xffb": 3, "a\ufffd": 4} {
		if got := InvalidAt([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	for name, want := range map[string]string{"ttls": `; did you mean "ttl"? want durable, ttl`, "Durable": `; did you mean "durable"? want durable, ttl`, "retain": "; want durable, ttl"} {
		if got := Suggest(name, []string{"durable", "ttl"}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := Suggest("x", nil); got != "; want none here" {
		t.Error(got)
	}
}

// TestAnswer: the header has what RFC 9110 requires for the status.
func TestAnswer(t *testing.T) {
	for status, field := range map[int]string{401: "WWW-Authenticate", 503: "Retry-After", 400: ""} {
		var r fasthttp.Response
		Errorf(status, "code", "a %q and \xff", "quote").Answer(&r)
		if got, want := string(r.Body()), `{"error":{"code":"code","message":"a \"quote\" and `+"\ufffd"+`"}}`+"\n"; got != want || r.StatusCode() != status {
			t.Errorf("%d %s, want %s", r.StatusCode(), got, want)
		}
		if field != "" && len(r.Header.Peek(field)) == 0 {
			t.Errorf("%d without %s", status, field)
		}
	}
	if p := TooBig("the body", 7); p.Status != 413 || p.Message != "the body is longer than 7 bytes" {
		t.Errorf("%+v", p)
	}
}
