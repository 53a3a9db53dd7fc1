package replay

import (
	"testing"
	"time"

	"fanfare/server/store"
)

// remove deletes all messages of a box.
func (g *rig) remove(b store.Box, receivers ...*receiver) {
	g.Delete(b, func() {
		for range len(g.store.boxes[b]) {
			g.store.removeFirst(b)
		}
	}, func(f func(Receiver)) {
		for _, r := range receivers {
			f(r)
		}
	})
}

// TestNoticeOfDeletedMessage: a message is announced after it was deleted. A session that is
// open does not get it, nor does one that opens later; the next message has a gap.
func TestNoticeOfDeletedMessage(t *testing.T) {
	for name, b := range map[string]store.Box{"inbox": inboxOf("alice"), "topic": topic("news")} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			early := g.connect("alice", AckByPong, "news")
			g.push(b, "m1", early)
			g.want(early, true, b.Topic+"m1")
			at := g.store.append(b, "deleted", 0)
			late := g.NewNotice(b, at.Offset, at.Prev, "deleted")
			g.remove(b, early)
			next := g.connect("alice", AckByPong, "news")
			g.Notify(early, late)
			g.Notify(next, late)
			g.run()
			g.want(early, true)
			g.want(next, true)
			g.push(b, "m3", early, next)
			g.run()
			g.want(early, true, b.Topic+"m3 gap")
			g.want(next, true, b.Topic+"m3 gap")
			// Later the store is not asked any more.
			g.clock.advance(2 * deletionTime)
			reads := g.store.calls["read"]
			g.push(b, "m4", early)
			g.want(early, true, b.Topic+"m4")
			if n := g.store.calls["read"] - reads; n > 0 {
				t.Errorf("%d reads", n)
			}
		})
	}
}

// TestDeleteDuringRead: messages are deleted after a session has read them, and before it
// writes them.
func TestDeleteDuringRead(t *testing.T) {
	for _, op := range []string{"read, done", "read"} {
		g := newRig(t)
		b := inboxOf("alice")
		g.store.append(b, "m1", 0)
		g.store.append(b, "m2", 0)
		g.clock.advance(time.Minute)
		deleted := false
		g.store.hook = func(now string) {
			if now == op && !deleted {
				deleted = true
				g.remove(b)
			}
		}
		r := g.connect("alice", AckExplicit)
		g.run()
		g.want(r, true, "begin e1@0 gap=true")
		if !deleted {
			t.Errorf("no %q", op)
		}
		g.push(b, "m3", r)
		g.run()
		g.want(r, true, "m3 gap") // as m3 names its predecessor
	}
}

// TestNoticeDuringReadOfDeleted: while a session finds out that a message was deleted, the
// next one is announced. It is delivered without a further notice.
func TestNoticeDuringReadOfDeleted(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	r := g.connect("alice", AckByPong)
	g.push(b, "m1", r)
	g.want(r, true, "m1")
	at := g.store.append(b, "deleted", 0)
	late := g.NewNotice(b, at.Offset, at.Prev, "deleted")
	g.remove(b, r)
	reads := 0
	g.store.hook = func(op string) {
		if op != "read, done" {
			return
		}
		if reads++; reads == 1 {
			g.push(b, "m3", r)
		}
	}
	g.Notify(r, late)
	g.run()
	g.want(r, true, "m3 gap")
}
