package api

import (
	"net/url"
	"strings"
	"testing"

	"fanfare/registry"
)

func TestCutPath(t *testing.T) {
	tests := []struct {
		path string
		want string
	}{
		{"", ""},
		{"*", ""},
		{"v1", ""},
		{"/", "|"},
		{"/a", "a|"},
		{"/a/", "a||"},
		{"//a", "|a|"},
		{"/a%2Fb/c", "a%2Fb|c|"},
		{"/1/2/3/4/5", "1|2|3|4|5|"},
		{"/1/2/3/4/5/6", "1|2|3|4|5|6|"},
		{"/1/2/3/4/5/6/7/8", "1|2|3|4|5|6|"},
	}
	for _, tt := range tests {
		var segments [maxSegments][]byte
		var got strings.Builder
		for _, s := range segments[:cutPath([]byte(tt.path), segments[:])] {
			got.Write(s)
			got.WriteByte('|')
		}
		if got.String() != tt.want {
			t.Errorf("%q: got %s, want %s", tt.path, got.String(), tt.want)
		}
	}
	for _, r := range routes {
		if len(r.path) >= maxSegments {
			t.Errorf("route %v is longer than maxSegments allows", r.path)
		}
	}
}

// FuzzNames: decodeName accepts exactly the valid names, and every valid name survives
// encoding in a path.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"alice", "a%2Fb", "%", "%zz", "..", "%00", "%ff", "a+b", "", strings.Repeat("n", 257), "/", "a/b", "?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := decodeName([]byte(s)); err == nil {
			if registry.CheckName(name) != nil {
				t.Errorf("%q was read as %q", s, name)
			}
			if want, err := url.PathUnescape(s); err != nil || want != name {
				t.Errorf("%q was read as %q, not %q", s, name, want)
			}
		}
		if registry.CheckName(s) != nil {
			return
		}
		var segments [maxSegments][]byte
		path := "/v1/users/" + url.PathEscape(s) + "/push"
		if n := cutPath([]byte(path), segments[:]); n != 4 {
			t.Fatalf("%q: %d segments", path, n)
		}
		if name, err := decodeName(segments[2]); err != nil || name != s {
			t.Errorf("%q came back as %q, %v", s, name, err)
		}
	})
}
