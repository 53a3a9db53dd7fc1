package peers

import (
	"errors"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestHub(t *testing.T) {
	h := newHub[int]()
	h.add(1, route{user: "a", topics: []string{"x", "y"}})
	h.add(2, route{user: "b", topics: []string{"x"}})
	h.add(3, route{user: "a"})
	check := func(what string, got []int, want ...int) {
		t.Helper()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", what, got, want)
		}
	}
	check("all", h.all(), 1, 2, 3)
	check("a", h.user("a"), 1, 3)
	check("x", h.topic("x"), 1, 2)
	check("absent user", h.user("c"))
	h.remove(1, route{user: "a", topics: []string{"x", "y"}})
	check("all", h.all(), 2, 3)
	check("a", h.user("a"), 3)
	check("x", h.topic("x"), 2)
	check("y", h.topic("y"))
	if sessions, users := h.size(); sessions != 2 || users != 2 {
		t.Errorf("%d sessions of %d users", sessions, users)
	}
	h.remove(2, route{user: "b", topics: []string{"x"}})
	h.remove(3, route{user: "a"})
	if len(h.users)+len(h.topics)+h.count != 0 {
		t.Errorf("left over: %+v", h)
	}
}

func TestRouteOf(t *testing.T) {
	for raw, want := range map[string]route{
		"/echo":                      {echo: true},
		"/ws":                        {},
		"/ws?user=a":                 {user: "a"},
		"/ws?user=a&topic=x&topic=y": {user: "a", topics: []string{"x", "y"}},
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if r := routeOf(u); r.echo != want.echo || r.user != want.user || !slices.Equal(r.topics, want.topics) {
			t.Errorf("%s: %+v", raw, r)
		}
	}
}

func TestParallelReachesEach(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 1000} {
		to := make([]int, n)
		for i := range to {
			to[i] = i
		}
		reached := make([]atomic.Int32, n)
		parallel(to, func(i int) { reached[i].Add(1) })
		for i := range reached {
			if reached[i].Load() != 1 {
				t.Fatalf("of %d, number %d was reached %d times", n, i, reached[i].Load())
			}
		}
	}
}

func TestPool(t *testing.T) {
	p := newPool(2, 1)
	release := make(chan struct{})
	var running, done sync.WaitGroup
	for range 2 {
		running.Add(1)
		done.Add(1)
		p.schedule(func() { running.Done(); <-release; done.Done() }, nil)
	}
	running.Wait()
	done.Add(1)
	if err := p.schedule(done.Done, nil); err != nil { // waits in the queue
		t.Error(err)
	}
	past := make(chan time.Time, 1)
	past <- time.Time{}
	if err := p.schedule(func() {}, past); !errors.Is(err, errBusy) {
		t.Errorf("two goroutines busy, one task waiting: %v", err)
	}
	close(release)
	done.Wait()
}

func TestVersions(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range All() {
		if seen[p.Name] || p.About == "" || p.Module == "" || p.Serve == nil {
			t.Errorf("%+v", p)
		}
		seen[p.Name] = true
		if _, err := Find(p.Name); err != nil {
			t.Error(err)
		}
	}
	if _, err := Find("x"); err == nil {
		t.Error("there is a peer x")
	}
}
