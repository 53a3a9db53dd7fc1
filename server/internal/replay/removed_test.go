package replay

import (
	"testing"
	"time"
)

// TestAllRemoved: all messages of an inbox were removed before the user read them. A client
// learns of it when it connects, and not with the next message only.
func TestAllRemoved(t *testing.T) {
	for _, test := range []struct {
		acked uint64
		begin string
		next  string // announces the gap again, as it names its predecessor
	}{
		{0, "begin e1@0 gap=true", "m3 gap"},
		{1, "begin e1@1 gap=true", "m3 gap"},
		{2, "begin e1@2 gap=false", "m3"},
	} {
		g := newRig(t)
		b := inboxOf("alice")
		g.store.append(b, "m1", 0)
		g.store.append(b, "m2", 0)
		if test.acked > 0 {
			g.store.Ack(b, "alice", test.acked)
		}
		g.store.removeFirst(b)
		g.store.removeFirst(b)
		g.clock.advance(time.Minute)
		r := g.connect("alice", AckExplicit)
		g.want(r, true, test.begin)
		g.push(b, "m3", r)
		g.work()
		g.want(r, true, test.next)
	}
}
