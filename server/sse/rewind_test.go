package sse_test

import "testing"

// TestRewind: a client gets the last message first, and when it comes back with an id what
// follows that, though its URL still rewinds.
func TestRewind(t *testing.T) {
	srv := start(t, stored(t))
	publishDurable(t, srv, "d.x", "x1")
	publishDurable(t, srv, "d.x", "x2")
	const target = "/sse?user=bob&topic=d.x&rewind.d.x=1"
	c := open(t, srv, target)
	id := c.want("x2").id
	c.Close()
	publishDurable(t, srv, "d.x", "x3")
	publishDurable(t, srv, "d.x", "x4")
	c = open(t, srv, target, "Last-Event-ID: "+id)
	c.want("x3")
	c.want("x4")
	open(t, srv, target).want("x4") // without an id
}
