package handshake

import (
	"fmt"
	"strings"
	"testing"
)

// A rejection looks at no more of a long query than its first unknown parameter.
func TestQueryIsNotWalkedInVain(t *testing.T) {
	var query strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&query, "p%d=%%41&", i)
	}
	r := &Request{Query: []byte(query.String())}
	var q Query
	q.Use("user")
	if allocs := testing.AllocsPerRun(10, func() {
		if q.Check(r, func(string) bool { return false }, "") == nil {
			t.Fatal("accepted")
		}
	}); allocs > 20 {
		t.Errorf("%v allocations", allocs)
	}
}

// A parameter may be repeated only if every value has an effect, and the rejection lists what has
// one, in the order of names.
func TestQueryCheck(t *testing.T) {
	for _, test := range []struct{ query, want string }{
		{"user=a&topic=x&topic=y&&lb=1", ""},
		{"user=a&user=b", `query parameter "user" is repeated: name it once`},
		{"usr=a", `query parameter "usr" has no effect in a handshake with the sub-protocol v: want topic, user`},
		{"user=%4", `query parameter "user": malformed percent-encoding`},
	} {
		var q Query
		q.Use("user")
		q.UseAll("topic")
		q.Use("offset.x")
		err := q.Check(&Request{Query: []byte(test.query)}, func(name string) bool { return name == "lb" }, "v")
		got := ""
		if err != nil {
			got = err.(*Rejection).Text
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.query, got, test.want)
		}
	}
}
