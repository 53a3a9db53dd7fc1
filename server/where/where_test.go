package where

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func labels(t testing.TB, m map[string]string) Labels {
	t.Helper()
	l, err := MakeLabels(m)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMatch(t *testing.T) {
	session := labels(t, map[string]string{
		"platform": "ios", "version": "5.10.2", "build": "v7.0-beta+1", "plan": "team", "empty": "", "quote": `a"b'c\d`, "name": "Zoë", "os.name-2": "x",
		"huge": "99999999999999999999999.1",
	})
	for _, test := range []struct {
		text string
		want bool
	}{
		{`platform == "ios"`, true}, {`platform == 'ios'`, true}, {`platform=="iOS"`, false}, {`platform != "ios"`, false},
		{`nothing == ""`, false}, {`nothing != ""`, true}, {`empty == ""`, true}, {`nothing != "x"`, true},
		{`has platform`, true}, {`has nothing`, false}, {`!has nothing`, true}, {`has empty`, true}, {`has has_x`, false},
		{`platform in ("android", "ios")`, true}, {`platform in ("android")`, false}, {`nothing in ("")`, false}, {`!(platform in ('web'))`, true},
		{`version < "5.2"`, false}, {`version > "5.2"`, true}, {`version >= "5.10.2"`, true}, {`version <= "5.10.2"`, true}, {`version < "5.10.2"`, false},
		{`version < "6"`, true}, {`version > "5"`, true}, {`version >= "5.10.2.0.0"`, true}, {`version < "5.10.2.1"`, true}, {`version > "05.009"`, true},
		{`build >= "7"`, true}, {`build <= "v7.0.0"`, true}, {`build < "7.0.1"`, true}, {`version > "v5.2-rc1"`, true},
		{`platform < "5"`, false}, {`platform > "5"`, false}, {`nothing < "5"`, false}, {`!(nothing < "5")`, true}, {`empty < "5"`, false},
		{`huge > "99999999999999999999999"`, true}, {`huge < "100000000000000000000000"`, true},
		{`platform == "web" || plan == "team" && version > "5"`, true}, {`(platform == "web" || plan == "team") && version < "5"`, false},
		{`plan == "team" || platform == "web" && version < "5"`, true}, {`!platform == "web" && !!has plan`, true},
		{`quote == "a\"b'c\\d"`, true}, {`quote == 'a"b\'c\\d'`, true}, {`name == "Zoë"`, true}, {`os.name-2 == "x"`, true},
		{"\n platform\t==\r\n\"ios\" ", true}, {`inner == "x" || has inner || hash == "1" || has platform`, true},
	} {
		e, err := Parse(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		} else if got := e.Match(session); got != test.want || e.String() != test.text {
			t.Errorf("%s: %v, want %v", test.text, got, test.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		text   string
		column int
		says   string
	}{
		{``, 1, "unexpected end: want a label, has, ! or ("},
		{`platform`, 9, "unexpected end: want ==, !=, <, <=, >, >= or in after the label platform"},
		{`platform = "ios"`, 10, "unexpected =: want =="},
		{`platform == ios`, 13, `unexpected "ios": want a string in quotes`},
		{`platform == "ios`, 13, `the string does not end: want another "`},
		{`platform == "i\os"`, 15, `want \", \' or \\`},
		{`platform == "ios\`, 17, `want \", \' or \\`},
		{`platform == "ios" version < "5"`, 19, `unexpected "version": want && or || or the end`},
		{`platform == "ios" and has x`, 19, `unexpected "and"`},
		{`platform == "ios" & has x`, 19, `unexpected '&'`},
		{`platform == "ios" &&`, 21, "unexpected end: want a label"},
		{`(platform == "ios"`, 19, "unexpected end: want && or || or )"},
		{`platform == "ios")`, 18, `unexpected ')'`},
		{`version < "five"`, 11, `"five" is not a version: < compares`},
		{`version >= ""`, 12, `"" is not a version: >= compares`},
		{`version < "1..2"`, 11, "not a version"}, {`version < ".1"`, 11, "not a version"}, {`version < "1."`, 11, "not a version"},
		{`plan in "team"`, 9, `unexpected '"': want ( and a list`},
		{`plan in ()`, 10, `unexpected ')': want a string`},
		{`plan in ("a" "b")`, 14, `unexpected '"': want , or )`},
		{`plan in ("a",`, 14, "unexpected end: want a string"},
		{`has "x"`, 5, `unexpected '"': want the name of a label`},
		{`has in`, 5, `unexpected "in": want the name`},
		{`in == "x"`, 1, `unexpected "in": want a label`},
		{`5 < version`, 1, `unexpected '5': want a label`},
		{`name == "ë" x`, 13, `unexpected "x"`},
		{strings.Repeat("x", 65) + ` == "x"`, 1, "65 bytes: want at most 64"},
		{strings.Repeat("!", 17) + `has x`, 17, "more than 16"},
		{strings.Repeat("(", 17), 17, "more than 16"},
		{`has x` + strings.Repeat(` && has x`, 32), 288, "more than 64 parts"},
		{strings.Repeat(" ", 1025), 1, "1025 bytes: want at most 1024"},
		{"has \xff", 1, "not UTF-8"},
	} {
		_, err := Parse(test.text)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Column != test.column || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%.80q: %v, want column %d: %s", test.text, err, test.column, test.says)
		}
	}
}

func TestLabels(t *testing.T) {
	m := map[string]string{"b": "2", "a": "1", "a.b-c_D9": "", "_": "x"}
	if l := labels(t, m); !maps.Equal(l.Map(), m) || l != labels(t, maps.Clone(m)) {
		t.Errorf("got %q", l)
	}
	if l := labels(t, nil); l != "" || l.Map() != nil {
		t.Errorf("got %q", l)
	}
	many := map[string]string{}
	for i := range MaxLabels + 1 {
		many[fmt.Sprint("l", i)] = ""
	}
	for says, m := range map[string]map[string]string{
		`17 labels: want at most 16`:   many,
		`label "": want a name`:        {"": "x"},
		`label "1a"`:                   {"1a": "x"},
		`label "a b"`:                  {"a b": "x"},
		`label "in"`:                   {"in": "x"},
		`label "ë"`:                    {"ë": "x"},
		`label "xxxx`:                  {strings.Repeat("x", 65): ""},
		`label a has the value "x\x00`: {"a": "x\x00"},
		`label a has the value "\xff"`: {"a": "\xff"},
		`label a has the value "xxxx`:  {"a": strings.Repeat("x", 257)},
	} {
		if _, err := MakeLabels(m); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	e, err := Parse(`platform in ("web", "ios") && version < "5.10" && !(has beta || region == "eu")`)
	if err != nil {
		t.Fatal(err)
	}
	l := labels(t, map[string]string{"platform": "ios", "version": "v5.9.1-rc1", "plan": "team"})
	if n := testing.AllocsPerRun(100, func() {
		if !e.Match(l) {
			t.Fatal("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	e, _ := Parse(`platform == "ios" && version < "5.2"`)
	l := labels(b, map[string]string{"platform": "ios", "version": "5.1.7", "plan": "team"})
	for b.Loop() {
		e.Match(l)
	}
}

// FuzzParse checks that an expression that is accepted can be evaluated, that an error has a
// column within the text, and that the negation of an expression is its opposite.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`platform == "ios" && version < "5.2"`, `!(has a || b in ("x", 'y'))`, `a >= "v1.2-x"`, `a == "\\\""`, "has", `((`, "\xff"} {
		f.Add(text, "platform", "ios")
		f.Add(text, "a", "1.2.3")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		e, err := Parse(text)
		if err != nil {
			if w, ok := errors.AsType[*Error](err); !ok || w.Column < 1 || w.Column > len(text)+1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		l, err := MakeLabels(map[string]string{name: value})
		if err != nil {
			l = ""
		}
		got := e.Match(l)
		if not, err := Parse("!(" + text + ")"); err == nil && not.Match(l) == got {
			t.Errorf("%q and its negation are both %v for %q", text, got, l)
		}
		again, err := Parse(e.String())
		if err != nil || again.Match(l) != got {
			t.Errorf("%q: %v", text, err)
		}
	})
}
