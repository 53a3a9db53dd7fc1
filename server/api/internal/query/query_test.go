package query

import (
	"slices"
	"testing"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/problem"
)

func parse(text string) *fasthttp.Args {
	args := new(fasthttp.Args)
	args.Parse(text)
	return args
}

// TestCheck: no parameter is ignored.
func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		"after=1&name=a":    "",
		"name=a&name=b":     "",
		"after=1&after=2":   `parameter "after" comes twice`,
		"afetr=1":           `unknown parameter "afetr"; did you mean "after"? want after, name`,
		"after=1&%ff=2":     `unknown parameter "\xff"; want after, name`,
		"after=1&&other=&x": `unknown parameter "other"; want after, name`,
	} {
		got := ""
		if p := Check(parse(text), []string{"after", "name"}, []string{"name"}); p != nil {
			got = p.Message
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	name := func(args *fasthttp.Args) (any, *problem.Problem) { return Name(args, "user") }
	limit := func(args *fasthttp.Args) (any, *problem.Problem) { return Limit(args, 10, 99) }
	number := func(args *fasthttp.Args) (any, *problem.Problem) { return Int(args, "debug", 1, 0, 2) }
	for _, tt := range []struct {
		text string
		read func(*fasthttp.Args) (any, *problem.Problem)
		want any
		err  string
	}{
		{"user=a%2Fb", name, "a/b", ""},
		{"", name, "", "the parameter user is missing"},
		{"", limit, 10, ""},
		{"limit=99", limit, 99, ""},
		{"limit=100", limit, 0, `limit is "100": want 1 to 99`},
		{"limit=", limit, 0, `limit is "": want 1 to 99`},
		{"", number, 1, ""},
		{"debug=0", number, 0, ""},
		{"debug=x", number, 0, `debug is "x": want 0 to 2`},
	} {
		got, p := tt.read(parse(tt.text))
		if tt.err == "" && (p != nil || got != tt.want) || tt.err != "" && (p == nil || p.Status != 400 || p.Message != tt.err) {
			t.Errorf("%q: %v, %+v, want %v, %s", tt.text, got, p, tt.want, tt.err)
		}
	}
	if _, p := Name(parse("user="), "user"); p == nil || p.Code != "bad_name" {
		t.Errorf("an empty name: %+v", p)
	}
	if got := All(parse("x=1&y=2&x=3"), "x"); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("all: %q", got)
	}
}
