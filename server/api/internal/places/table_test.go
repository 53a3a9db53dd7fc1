package places

import (
	"testing"

	"github.com/valyala/fasthttp"

	"fanfare/server/internal/limit"
)

// connection is a connection with a Place.
type connection struct{ Place }

// The places go in this order: the oldest anonymous connection, the one that has been idle
// for longest, none that has a request in progress.
func TestTableOrder(t *testing.T) {
	table := New[*connection](4, 0)
	add := func(want *connection, wantOK bool) *connection {
		t.Helper()
		c := new(connection)
		victim, replaced, ok := table.Add(c)
		if victim != want || replaced != (want != nil) || ok != wantOK {
			t.Fatalf("got %p %v %v, want %p %v", victim, replaced, ok, want, wantOK)
		}
		return c
	}
	authorize := func(c *connection) {
		table.Note(c, fasthttp.StateActive)
		table.Authorize(c)
	}
	a := add(nil, true)
	b := add(nil, true)
	c := add(a, true) // half of the places
	authorize(b)
	authorize(c)
	d := add(nil, true)
	e := add(nil, true)
	f := add(d, true) // all places, two of them anonymous
	authorize(e)
	authorize(f)
	add(nil, false) // all are active
	table.Note(c, fasthttp.StateIdle)
	table.Note(b, fasthttp.StateIdle)
	g := add(c, true)
	h := add(g, true)
	table.Note(h, fasthttp.StateClosed)
	add(nil, true)
	if n := table.Len(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
	table.Note(c, fasthttp.StateClosed) // was closed for g
	table.Authorize(a)                  // was closed for c
	if n := len(table.All()); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

// Stop returns every connection without a request in progress, and Note the others as
// their requests end.
func TestTableStop(t *testing.T) {
	table := New[*connection](10, 0)
	idle, active, rejected := new(connection), new(connection), new(connection)
	table.Add(idle)
	table.Add(active)
	if table.Note(active, fasthttp.StateActive) || !table.Reject(rejected) {
		t.Fatal("the table has stopped")
	}
	stopped := make(map[*connection]bool)
	for _, c := range table.Stop() {
		stopped[c] = true
	}
	if len(stopped) != 2 || !stopped[idle] || !stopped[rejected] {
		t.Errorf("got %v", stopped)
	}
	if !table.Note(active, fasthttp.StateIdle) {
		t.Error("a connection whose request has ended stays open")
	}
	if table.Note(active, fasthttp.StateClosed) {
		t.Error("a connection is closed twice")
	}
	if table.Reject(new(connection)) {
		t.Error("a connection is rejected with an answer after Stop")
	}
}

// The number of connections that are being rejected is bounded.
func TestTableRejections(t *testing.T) {
	table := New[*connection](1, 0)
	first := new(connection)
	table.Reject(first)
	for range limit.Divide(0).Rejected - 1 {
		if !table.Reject(new(connection)) {
			t.Fatal("there is no room")
		}
	}
	if table.Reject(new(connection)) {
		t.Error("there is room for one more")
	}
	table.Rejected(first)
	if !table.Reject(new(connection)) {
		t.Error("there is no room after one was answered")
	}
}

// The default limit is the share of the descriptors.
func TestTableLimit(t *testing.T) {
	d := limit.Divide(0)
	if table := New[*connection](7, 0); table.Limit() != 7 || table.Descriptors() != 0 {
		t.Errorf("got %d, from %d descriptors, want 7", table.Limit(), table.Descriptors())
	}
	from := d.Open
	if d.API == limit.MaxAPI {
		from = 0
	}
	if table := New[*connection](0, 0); table.Limit() != d.API || table.Descriptors() != from {
		t.Errorf("got %d, from %d descriptors, want %d and %d", table.Limit(), table.Descriptors(), d.API, from)
	}
}
