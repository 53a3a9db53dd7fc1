package roster

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var begun = time.Unix(1000, 0)

// TestRoster: changes between two announcements are announced together, what was undone is not
// announced, and a user who comes back within the grace period never left.
func TestRoster(t *testing.T) {
	r := New(10 * time.Second)
	at := begun
	step := func(after time.Duration, want string, changes ...string) {
		t.Helper()
		at = at.Add(after)
		r.Expire(at)
		for _, c := range changes {
			r.Set("room", c[1:], c[0] == '+', at)
		}
		if got := fmt.Sprint(r.Flush()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if r.Changed() {
			t.Error("something is left after Flush")
		}
	}
	step(0, "[{room 2 [al bo] []}]", "+bo", "+al", "+bo")
	step(time.Second, "[]", "-al", "-al", "-nobody")
	step(9*time.Second, "[]", "+al", "-bo")
	if want := at.Add(time.Second); !r.Next().Equal(want) && r.Next().After(at.Add(10*time.Second)) {
		t.Errorf("next is %v", r.Next())
	}
	step(5*time.Second, "[{room 3 [cy] []}]", "+cy")
	step(5*time.Second, "[{room 3 [di] [bo]}]", "+di")
	step(time.Second, "[]", "-al", "-cy", "-di")
	step(9*time.Second, "[]")
	step(time.Second, "[{room 0 [] [al cy di]}]")
	if len(r.topics) != 0 || !r.Next().IsZero() {
		t.Errorf("%d topics are left, next is %v", len(r.topics), r.Next())
	}

	zero := New(0)
	zero.Seed("room", "al")
	zero.Set("room", "bo", true, at)
	zero.Set("room", "bo", false, at)
	if got := fmt.Sprint(zero.Flush()); got != "[]" {
		t.Errorf("a visit shorter than the time between two announcements: %s", got)
	}
	zero.Set("room", "al", false, at)
	if got := fmt.Sprint(zero.Flush()); got != "[{room 0 [] [al]}]" {
		t.Errorf("a member that was announced by another process: %s", got)
	}
}

// TestCostOfJoin: what joins cost, in deliveries and bytes of names, does not grow with the
// members: 10 or 15,000.
func TestCostOfJoin(t *testing.T) {
	for _, size := range []int{10, 90, 150, 1000, 15_000} {
		r := New(0)
		for i := range size {
			r.Seed("room", fmt.Sprint("member", i))
		}
		deliveries, names, last := 0, 0, 0
		const joins = 1000
		for i := range joins { // one at a time, so that none is announced together with another
			user := fmt.Sprint("new", i)
			r.Set("room", user, true, begun)
			for _, a := range r.Flush() {
				deliveries += a.Members
				names, last = max(names, len(a.Joined)+len(a.Left)), a.Members
			}
			if size <= MaxListed { // the size stays
				r.Set("room", user, false, begun)
				for _, a := range r.Flush() {
					names = max(names, len(a.Joined)+len(a.Left))
				}
			}
		}
		if each := float64(deliveries) / joins; each > 2*MaxListed {
			t.Errorf("%d members: %.0f deliveries for each join", size, each)
		}
		if want := map[bool]int{true: 1}[size < MaxListed]; names != want {
			t.Errorf("%d members: announcements with %d names, want %d", size, names, want)
		}
		if off := size + joins - last; size > MaxListed && off > (size+joins)/100 {
			t.Errorf("%d members: the number that was announced is %d too low", size, off)
		}
	}
}

// TestManyAtOnce: an announcement has at most MaxListed names, however many change at once.
func TestManyAtOnce(t *testing.T) {
	r := New(0)
	var want []string
	for i := range MaxListed {
		want = append(want, fmt.Sprintf("user%03d", i))
		r.Set("room", want[i], true, begun)
	}
	if got := r.Flush(); len(got) != 1 || !slices.Equal(got[0].Joined, want) {
		t.Errorf("%v", got)
	}
	for _, user := range want[1:] {
		r.Set("room", user, false, begun)
	}
	r.Set("room", "a", true, begun)
	r.Set("room", "b", true, begun)
	if got := fmt.Sprint(r.Flush()); got != "[{room 3 [] []}]" {
		t.Errorf("101 names: %v", got)
	}
	r.Set("other", "a", true, begun)
	r.Set("room", "b", false, begun)
	if got := fmt.Sprint(r.Flush()); got != "[{other 1 [a] []} {room 2 [] [b]}]" {
		t.Errorf("%v", got)
	}
}
