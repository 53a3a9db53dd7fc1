package handshake

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func forwarded(fields ...string) ([]Hop, error) {
	var r Request
	for _, f := range fields {
		r.Add("forwarded", f)
	}
	return r.Forwarded()
}

var forwardedFields = []struct {
	name   string
	fields []string
	want   []Hop // nil: malformed
}{
	{"none", nil, []Hop{}},
	{"IPv4", []string{"for=192.0.2.60;proto=http;by=203.0.113.43"}, []Hop{{For: "192.0.2.60"}}},
	{"IPv6", []string{`For="[2001:db8:cafe::17]:4711"`}, []Hop{{For: "[2001:db8:cafe::17]:4711"}}},
	{"a chain", []string{"for=192.0.2.43, for=198.51.100.17"}, []Hop{{For: "192.0.2.43"}, {For: "198.51.100.17"}}},
	{"a chain of fields", []string{"for=192.0.2.43", `for="[::1]";host=a.example,for=10.0.0.1`}, []Hop{{For: "192.0.2.43"}, {"[::1]", "a.example"}, {For: "10.0.0.1"}}},
	{"obfuscated", []string{`for=_hidden, for=_SEVKISEK, for=unknown`}, []Hop{{For: "_hidden"}, {For: "_SEVKISEK"}, {For: "unknown"}}},
	{"host with a port", []string{`host="a.example:8443";for=unknown`}, []Hop{{"unknown", "a.example:8443"}}},
	{"without for", []string{"proto=https, for=10.0.0.1"}, []Hop{{}, {For: "10.0.0.1"}}},
	{"address without quotes", []string{"for=[2001:db8::1]:80;host=h, for=192.0.2.1:80"}, []Hop{{"[2001:db8::1]:80", "h"}, {For: "192.0.2.1:80"}}},
	{"separators in quotes", []string{`for="a,b;c=d";host="e\"f\\"`}, []Hop{{"a,b;c=d", `e"f\`}}},
	{"spaces", []string{" for=a ;\thost=b , for=c "}, []Hop{{"a", "b"}, {For: "c"}}},
	{"empty members and pairs", []string{",for=a,, ;for=b;;host=c;,", ""}, []Hop{{For: "a"}, {"b", "c"}}},
	{"extension", []string{"secret=x;for=a"}, []Hop{{For: "a"}}},
	{"empty quotes", []string{`for=""`}, []Hop{{}}},

	{"open quote", []string{`for="1.2.3.4, for=5.6.7.8`}, nil},
	{"open quote, then another field", []string{`for="1.2.3.4`, "for=5.6.7.8"}, nil},
	{"open escape", []string{`for="1.2.3.4\`}, nil},
	{"an address alone", []string{"1.2.3.4"}, nil},
	{"no value", []string{"for="}, nil},
	{"no name", []string{"=a"}, nil},
	{"space before the value", []string{"for= a"}, nil},
	{"for twice", []string{"for=a;FOR=b"}, nil},
	{"after the quote", []string{`for="a"b`}, nil},
	{"two words", []string{"for=a b"}, nil},
}

func TestForwarded(t *testing.T) {
	for _, tt := range forwardedFields {
		t.Run(tt.name, func(t *testing.T) {
			got, err := forwarded(tt.fields...)
			var rejection *Rejection
			if tt.want == nil {
				if !errors.As(err, &rejection) || rejection.Status != 400 || !strings.Contains(rejection.Text, "Forwarded") {
					t.Errorf("got %q, %v", got, err)
				}
			} else if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzForwarded: whatever a client sends, what a proxy appends is the last element, or the
// field is malformed.
func FuzzForwarded(f *testing.F) {
	for _, tt := range forwardedFields {
		f.Add(strings.Join(tt.fields, ", "))
	}
	f.Fuzz(func(t *testing.T, field string) {
		const last = "192.0.2.1"
		for _, fields := range [][]string{{field + ", for=" + last}, {field, "for=" + last}} {
			hops, err := forwarded(fields...)
			if err == nil && (len(hops) == 0 || hops[len(hops)-1] != Hop{For: last}) {
				t.Errorf("%q: %q", fields, hops)
			}
		}
	})
}
