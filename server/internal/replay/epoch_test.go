package replay

import (
	"errors"
	"testing"
)

// fill stores numbered messages.
func fill(g *rig, prefix string, n int) {
	for _, text := range numbers(prefix, 1, n) {
		g.store.append(inboxOf("alice"), text, 0)
	}
}

// TestRestoredBackup: the client is at 6, the store goes back to 3 and on to 7.
func TestRestoredBackup(t *testing.T) {
	g := newRig(t)
	fill(g, "a", 3)
	g.store.save()
	for _, text := range numbers("a", 4, 6) {
		g.store.append(inboxOf("alice"), text, 0)
	}
	g.store.restore()
	for _, text := range numbers("new", 4, 7) {
		g.store.append(inboxOf("alice"), text, 0)
	}
	all := append(numbers("a", 1, 3), numbers("new", 4, 7)...)
	for _, test := range []struct {
		start Start
		begin string
		from  int
	}{
		{Start{Resume: true, Epoch: "e1", Offset: 6}, "begin e2@0 gap=true", 0},
		{Start{Resume: true, Epoch: "e1", Offset: 4}, "begin e2@0 gap=true", 0},
		{Start{Resume: true, Epoch: "e1", Offset: 3}, "begin e2@3 gap=false", 3},
		{Start{Resume: true, Epoch: "e1", Offset: 0}, "begin e2@0 gap=false", 0},
		{Start{Resume: true, Epoch: "e2", Offset: 5}, "begin e2@5 gap=false", 5},
		{Start{Resume: true, Epoch: "e2", Offset: 7}, "begin e2@7 gap=false", 7},
		{Start{Resume: true, Epoch: "e2", Offset: 8}, "begin e2@0 gap=true", 0},
		{Start{Resume: true, Epoch: "e9", Offset: 2}, "begin e2@0 gap=true", 0},
		{Start{Resume: true, Epoch: "", Offset: 2}, "begin e2@0 gap=true", 0},
		{Start{Resume: true, Epoch: "", Offset: 0}, "begin e2@0 gap=false", 0},
	} {
		r := g.resume("alice", AckExplicit, test.start)
		g.want(r, true, append([]string{test.begin}, all[test.from:]...)...)
		// An ack for the epoch that the client named may have been on its way.
		err := g.Ack(r, "", "e1", 3)
		if named := test.start.Epoch == "e1"; named != (err == nil) || !named && !errors.Is(err, ErrEpoch) {
			t.Errorf("%+v: an ack of another history: %v", test.start, err)
		}
		g.close(r, 0)
	}
	g.wantAcked(inboxOf("alice"), "alice", -1)
	if n := g.Stats().Ignored; n != 4 {
		t.Errorf("%d acks are ignored, want 4", n)
	}
}

// TestEpochChangesWhileConnected: a session at 3 meets a store that was emptied,
// restored, or only opened again.
func TestEpochChangesWhileConnected(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*fakeStore)
		want   []string
		acked  int
		// ignored acks of the earlier epoch
		ignored int64
	}{
		{"emptied", func(f *fakeStore) { f.restore() }, []string{"b1 gap", "b2"}, 2, 1},
		{"opened again", func(f *fakeStore) { f.reopen() }, []string{"b1", "b2"}, 5, 0},
	} {
		for _, notified := range []bool{true, false} {
			g := newRig(t)
			b := inboxOf("alice")
			fill(g, "a", 3)
			r := g.connect("alice", AckExplicit)
			g.want(r, false, "begin e1@0 gap=false", "a1", "a2", "a3")
			test.change(g.store)
			if test.name == "opened again" {
				if err := g.Ack(r, "", "e1", 2); err != nil {
					t.Error(err)
				}
			}
			for _, text := range []string{"b1", "b2"} {
				if notified {
					g.push(b, text, r)
				} else {
					g.store.append(b, text, 0)
				}
			}
			if !notified {
				g.check(r)
			}
			g.work()
			g.want(r, true, test.want...)
			if err := g.Ack(r, "", "e2", uint64(test.acked)); err != nil {
				t.Error(err)
			}
			g.wantAcked(b, "alice", test.acked)
			acks := g.store.calls["ack"]
			if err := g.Ack(r, "", "e1", 3); err != nil {
				t.Errorf("%s: an ack with the earlier epoch: %v", test.name, err)
			}
			g.wantAcked(b, "alice", test.acked)
			if n := g.store.calls["ack"]; n != acks {
				t.Errorf("%s: an ack with the earlier epoch is stored", test.name)
			}
			if n := g.Stats().Ignored; n != test.ignored {
				t.Errorf("%s: %d acks are ignored", test.name, n)
			}
		}
	}
}

// TestAcksOfEarlierEpochs: each epoch that a session has seen is ignored, the last
// eight of them; others are an error.
func TestAcksOfEarlierEpochs(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	r := g.connect("alice", AckExplicit)
	for range mostPast + 1 {
		g.push(b, "m", r)
		g.store.reopen()
		g.check(r)
		g.work()
	}
	g.push(b, "m", r)
	if g.find(r).inbox.epoch != "e10" {
		t.Fatal(g.find(r).inbox.epoch)
	}
	for _, test := range []struct {
		epoch string
		err   error
		acked int
	}{
		{"e1", ErrEpoch, -1}, {"e2", nil, -1}, {"e8", nil, -1}, {"", ErrEpoch, -1}, {"e11", ErrEpoch, -1},
		{"e9", nil, 1}, {"e10", nil, 1},
	} {
		if err := g.Ack(r, "", test.epoch, 1); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", test.epoch, err, test.err)
		}
		g.wantAcked(b, "alice", test.acked)
	}
	if n := g.Stats().Ignored; n != 2 {
		t.Errorf("%d acks are ignored, want 2", n)
	}
	if n := len(g.find(r).inbox.past); n != mostPast {
		t.Errorf("%d epochs are kept", n)
	}
}

// TestPongOfAnotherEpoch: the client answers for messages of a store that is gone.
// The answer marks nothing of the new one as read.
func TestPongOfAnotherEpoch(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	fill(g, "a", 3)
	r := g.connect("alice", AckByPong)
	g.store.restore()
	fill(g, "b", 3)
	g.want(r, true, "a1", "a2", "a3", "b1 gap", "b2", "b3")
	g.wantAcked(b, "alice", 3)
	if g.store.calls["ack"] != 1 {
		t.Errorf("%d acks", g.store.calls["ack"])
	}
}

// TestEpochChangesDuringRead: what was read belongs to an earlier epoch.
func TestEpochChangesDuringRead(t *testing.T) {
	for _, op := range []string{"last", "acked", "read"} {
		g := newRig(t)
		fill(g, "a", 3)
		r := g.receiver("alice", AckExplicit)
		g.open(r, Start{})
		g.store.hook = func(at string) {
			if at == op+", done" {
				g.store.hook = nil
				g.store.restore()
				fill(g, "b", 2)
			}
		}
		g.run()
		got := g.take(r, true)
		if n := len(got); n != 3 || got[n-2] != "b1" && got[n-2] != "b1 gap" || got[n-1] != "b2" {
			t.Errorf("%s: got %q", op, got)
		}
	}
}

// TestUnsentOffsetsOfAnotherEpoch: the session is at 3 and knows of 4 to 6, which
// the restored store has not.
func TestUnsentOffsetsOfAnotherEpoch(t *testing.T) {
	for _, rest := range []bool{false, true} {
		g := newRig(t)
		b := inboxOf("alice")
		fill(g, "a", 3)
		g.store.save()
		r := g.connect("alice", AckExplicit)
		g.want(r, true, "begin e1@0 gap=false", "a1", "a2", "a3")
		for range 3 {
			m := g.store.append(b, "lost", 0)
			g.Notify(r, g.NewNotice(b, m.Offset, m.Prev, nil))
		}
		if rest {
			g.use(r, false, func(s *session) { s.inbox.rest = []uint64{4, 5, 6} })
		}
		g.store.restore()
		g.check(r)
		g.run()
		g.push(b, "new4", r)
		g.push(b, "new5", r)
		g.run()
		g.want(r, true, "new4", "new5")
	}
}

// TestLatePongOfAnotherEpoch: the session has moved to the new epoch already.
func TestLatePongOfAnotherEpoch(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	fill(g, "a", 3)
	r := g.connect("alice", AckByPong)
	g.store.restore()
	fill(g, "b", 4)
	g.push(b, "b5", r)
	g.work()
	late := ""
	for _, w := range r.kernel {
		if w.kind == "ping" {
			late = w.text
		}
	}
	if s := g.find(r); s.inbox.epoch != "e2" || late == "" {
		t.Fatalf("epoch %s, ping %q", s.inbox.epoch, late)
	}
	g.Pong(r, []byte(late))
	g.wantAcked(b, "alice", -1)
}

// TestNoticeOfAnotherEpochBeforeTheFirstLook: its offset says nothing.
func TestNoticeOfAnotherEpochBeforeTheFirstLook(t *testing.T) {
	g := newRig(t)
	fill(g, "a", 5)
	r := g.receiver("alice", AckExplicit)
	g.open(r, Start{})
	g.push(inboxOf("alice"), "a6", r)
	g.store.restore()
	fill(g, "b", 1)
	g.work()
	if n := g.Stats().Waiting; n != 0 {
		t.Error("the session waits for offsets of the earlier epoch")
	}
	g.push(inboxOf("alice"), "b2", r)
	g.work()
	g.want(r, true, "begin e2@0 gap=false", "b1", "b2")
}

// TestNoticeDuringCheck: while a worker asks whether the session's offset continues,
// a late notice of the earlier epoch must not move that offset.
func TestNoticeDuringCheck(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	fill(g, "a", 2)
	g.store.save()
	r := g.connect("alice", AckExplicit)
	g.take(r, true)
	m := g.store.append(b, "lost", 0)
	late := g.NewNotice(b, m.Offset, m.Prev, "lost")
	g.store.restore()
	g.store.hook = func(op string) {
		if op == "continues, done" {
			g.store.hook = nil
			g.Notify(r, late)
		}
	}
	g.check(r)
	g.work()
	g.push(b, "new", r)
	g.work()
	g.want(r, true, "new")
}
