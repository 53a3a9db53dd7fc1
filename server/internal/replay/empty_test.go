package replay

import "testing"

// openEmpty opens a receiver as a server does, with between called before it is open.
func (g *rig) openEmpty(r *receiver, between func()) {
	g.Helper()
	r.since = g.clock.Now().Truncate(tickInterval)
	epoch, ok := g.AttachEmpty(r, Start{}, 0)
	if !ok || epoch != "e1" {
		g.Fatalf("not empty: epoch %q, %v", epoch, ok)
	}
	between()
	r.phase = Open
	g.Open(r)
	g.work()
}

// A user without messages costs no session, and no question to the store.
func TestAttachEmpty(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckNone} {
		g := newRig(t)
		r := g.receiver("alice", mode)
		g.openEmpty(r, func() {})
		if n := g.Stats().Sessions; n != 0 || len(g.store.calls) != 0 {
			t.Errorf("mode %d: %d sessions, store calls %v", mode, n, g.store.calls)
		}
		g.push(inboxOf("alice"), "one", r)
		g.work()
		g.want(r, true, "one")
		g.close(r, 0)
		if n := g.Stats().Sessions; n != 0 {
			t.Errorf("mode %d: %d sessions after the end", mode, n)
		}
	}
}

// What is stored before a receiver without a session is open is delivered, with a notice or
// without.
func TestAttachEmptyBeforeOpen(t *testing.T) {
	for name, between := range map[string]func(*rig, *receiver){
		"notice":   func(g *rig, r *receiver) { g.push(inboxOf("alice"), "one", r) },
		"recheck":  func(g *rig, r *receiver) { g.push(inboxOf("alice"), "one"); g.recheck() },
		"no event": func(g *rig, r *receiver) { g.push(inboxOf("alice"), "one") },
		"other device": func(g *rig, r *receiver) {
			offset := g.push(inboxOf("alice"), "one", r)
			g.store.Ack(inboxOf("alice"), "alice", offset)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			r := g.receiver("alice", AckByPong)
			g.cfg.Receivers = func(yield func(Receiver) bool) { yield(r) }
			g.openEmpty(r, func() { between(g, r) })
			g.want(r, true, "one")
			g.push(inboxOf("alice"), "two", r)
			g.work()
			g.want(r, true, "two")
			g.close(r, 0)
		})
	}
}

// A client that leaves before it is open leaves nothing.
func TestAttachEmptyEndsBeforeOpen(t *testing.T) {
	g := newRig(t)
	r := g.receiver("alice", AckByPong)
	if _, ok := g.AttachEmpty(r, Start{}, 0); !ok {
		t.Fatal("not empty")
	}
	g.push(inboxOf("alice"), "one", r)
	g.close(r, 0)
	if n := g.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestAttachEmptyNeedsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		mode   AckMode
		start  Start
		topics int
		change func(*rig)
	}{
		"explicit acknowledgements": {mode: AckExplicit},
		"positions for the client":  {mode: AckByResume},
		"resume":                    {start: Start{Resume: true}},
		"topics":                    {topics: 1},
		"a message":                 {change: func(g *rig) { g.push(inboxOf("alice"), "one") }},
		"a message that is gone":    {change: func(g *rig) { g.push(inboxOf("alice"), "one"); g.store.removeFirst(inboxOf("alice")) }},
		"no store":                  {change: func(g *rig) { g.store.setDown(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			if tt.change != nil {
				tt.change(g)
			}
			if _, ok := g.AttachEmpty(g.receiver("alice", tt.mode), tt.start, tt.topics); ok {
				t.Error("empty")
			}
		})
	}
}

func TestAttachEmptyAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	g := newRig(t)
	r := g.receiver("alice", AckByPong)
	n := testing.AllocsPerRun(1000, func() {
		if _, ok := g.AttachEmpty(r, Start{}, 0); !ok {
			t.Fatal("not empty")
		}
		r.phase = Open
		g.Open(r)
		r.phase = Opening
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}
