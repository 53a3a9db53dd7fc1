package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestPages: a user who is there all the time is in exactly one page, whoever comes and goes, and so is a topic.
func TestPages(t *testing.T) {
	r := newRegistry(Limits{})
	var stay []string
	for i := range 1000 {
		name := fmt.Sprintf("%c%d", 'a'+i%3, i*7919%1000)
		stay = append(stay, name)
		s := join(t, r, name)
		r.Subscribe(s, name)
	}
	slices.Sort(stay)
	var guests []*session
	for _, prefix := range []string{"", "b", "b1", "zz"} {
		var want []string
		for _, name := range stay {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		for _, n := range []int{1000, 60} {
			for what, page := range map[string]func([]string, string, string, int) []string{"users": r.AppendUsersAfter, "topics": r.AppendTopicsAfter} {
				var got []string
				for after := ""; ; {
					names := page(nil, after, prefix, n)
					if !slices.IsSorted(names) || len(names) > n {
						t.Fatalf("%s: a page of %d: %q", what, n, names)
					}
					if len(names) == 0 {
						break
					}
					after = names[len(names)-1]
					got = append(got, names...)
					for _, s := range guests {
						r.Leave(s)
					}
					guests = guests[:0]
					for range 10 {
						s := join(t, r, fmt.Sprintf("%s%d guest", prefix, rand.N(1000)))
						r.Subscribe(s, s.entry.User())
						guests = append(guests, s)
					}
				}
				got = slices.DeleteFunc(got, func(name string) bool { return strings.HasSuffix(name, "guest") })
				if !slices.Equal(got, want) {
					t.Errorf("%s with %q, pages of %d: %d names, want %d", what, prefix, n, len(got), len(want))
				}
			}
		}
	}
}
