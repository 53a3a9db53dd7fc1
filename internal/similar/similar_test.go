package similar

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"durable", "ttl", "id", "users"}
	for _, test := range []struct {
		name, nearest string
		edits         int
	}{
		{"durable", "durable", 0}, {"DURABLE", "durable", 0}, {"durabel", "durable", 1}, {"tll", "ttl", 1}, {"user", "users", 1},
		{"", "id", 2}, {"topic", "ttl", 4}, {strings.Repeat("x", 1e6), "durable", maxBytes},
	} {
		if nearest, edits := Nearest(test.name, known); nearest != test.nearest || edits != test.edits {
			t.Errorf("%.20q: got %q, %d edits, want %q, %d", test.name, nearest, edits, test.nearest, test.edits)
		}
	}
	if nearest, edits := Nearest("x", nil); nearest != "" || edits != 1 {
		t.Errorf("without a known name: got %q, %d", nearest, edits)
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"intreval", "interval", 1}, {"ca", "abc", 3}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%q, %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
