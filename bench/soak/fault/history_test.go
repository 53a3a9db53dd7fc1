package fault

import (
	"maps"
	"slices"
	"testing"
)

const alice, bob = "alice", "bob"

// newStory returns a history in which five messages for alice were pushed and four accepted, in epoch e1 at offsets 10
// to 40, and a device of hers. Its helpers tell what happened next.
func newStory(all bool) *story {
	s := &story{h: newHistory()}
	for n := 1; n <= 5; n++ {
		s.h.try(alice, n)
		if n < 5 {
			s.h.accept(alice, n, stored{Offset: uint64(10 * n), Epoch: "e1"})
		}
	}
	s.h.try(bob, 1)
	s.d = s.h.device(alice, "alice/1", all)
	return s
}

type story struct {
	h          *history
	d          *device
	connection int
}

// receive receives messages for alice at offsets of an epoch.
func (s *story) receive(epoch string, numbers ...int) {
	for _, n := range numbers {
		s.d.receive(receipt{text: text(alice, n), offset: uint64(10 * n), epoch: epoch, connection: s.connection})
	}
}

// hello begins a connection.
func (s *story) hello(epoch string, offset uint64, gap bool) {
	s.connection++
	s.d.receive(receipt{offset: offset, epoch: epoch, gap: gap, connection: s.connection})
}

// accept stores a message after the first four.
func (s *story) accept(n int, epoch string, offset uint64) {
	s.h.try(alice, n)
	s.h.accept(alice, n, stored{Offset: offset, Epoch: epoch})
}

// refuse is a server that did not start, because so many messages of epoch e1 were missing.
func (s *story) refuse(messages int) {
	s.h.startBreak()
	s.h.announce(loss{what: "refusal", epochs: map[string]bool{"e1": true}, most: messages})
}

// replace is a storage that was replaced, so that the offsets of epoch e1 mean nothing.
func (s *story) replace() {
	s.h.startBreak()
	s.h.announce(loss{what: "epoch", epochs: map[string]bool{"e1": true}, most: -1, voids: true})
}

func lost(v *Verdict) []string      { return v.Lost }
func reordered(v *Verdict) []string { return v.Reordered }
func repeated(v *Verdict) []string  { return v.Repeated }
func foreign(v *Verdict) []string   { return v.Foreign }
func gaps(v *Verdict) []string      { return v.Gaps }
func silent(v *Verdict) []string    { return v.Silent }
func offsets(v *Verdict) []string   { return v.Offsets }

// TestChecker checks that each violation is found, and no others.
func TestChecker(t *testing.T) {
	for _, test := range []struct {
		name  string
		all   bool // the device resumes from its own offset
		tell  func(s *story)
		wrong func(v *Verdict) []string // nil: no violation
		count int
	}{
		{name: "everything arrives", tell: func(s *story) { s.receive("e1", 1, 2, 3, 4) }},
		{name: "duplicates after reconnects", tell: func(s *story) {
			s.receive("e1", 1, 2)
			s.hello("e1", 0, false)
			s.receive("e1", 1, 2, 3)
			s.hello("e1", 10, false)
			s.receive("e1", 2, 3, 4)
		}},
		{name: "a push without an answer arrives", tell: func(s *story) { s.receive("e1", 1, 2, 3, 4, 5) }},

		{name: "the first is lost", tell: func(s *story) { s.receive("e1", 2, 3, 4) }, wrong: lost, count: 1},
		{name: "one in the middle is lost", tell: func(s *story) { s.receive("e1", 1, 2, 4) }, wrong: lost, count: 1},
		{name: "the last is lost", tell: func(s *story) { s.receive("e1", 1, 2, 3) }, wrong: lost, count: 1},
		{name: "all are lost", tell: func(*story) {}, wrong: lost, count: 4},
		{name: "lost, and another device has it", all: true, tell: func(s *story) {
			other := s.h.device(alice, "alice/2", false)
			for n := 1; n < 5; n++ {
				other.receive(receipt{text: text(alice, n)})
			}
			s.receive("e1", 1, 2, 4)
		}, wrong: lost, count: 1},

		{name: "a refusal announces a loss", tell: func(s *story) { s.refuse(2); s.receive("e1", 1, 4) }},
		{name: "a refusal names too few messages", tell: func(s *story) { s.refuse(2); s.receive("e1", 1) }, wrong: lost, count: 1},
		{name: "two refusals", tell: func(s *story) { s.refuse(2); s.refuse(1); s.receive("e1", 1) }},
		{name: "a loss after the refusal", tell: func(s *story) {
			s.refuse(4)
			s.accept(5, "e2", 50)
			s.receive("e1", 1, 2)
		}, wrong: lost, count: 1},
		{name: "a gap announces a loss", all: true, tell: func(s *story) {
			s.refuse(2)
			s.receive("e1", 1)
			s.d.receive(receipt{text: text(alice, 4), offset: 40, epoch: "e1", gap: true})
		}},
		{name: "a gap in a hello announces a loss", all: true, tell: func(s *story) { s.refuse(4); s.hello("e2", 40, true) }},
		{name: "a refusal without a gap", all: true, tell: func(s *story) { s.refuse(2); s.receive("e1", 1, 4) }, wrong: lost, count: 2},
		{name: "a gap without a refusal", all: true, tell: func(s *story) {
			s.h.startBreak()
			s.receive("e1", 1, 2)
			s.d.receive(receipt{text: text(alice, 4), offset: 40, epoch: "e1", gap: true})
		}, wrong: lost, count: 1},
		{name: "a loss after the gap", all: true, tell: func(s *story) {
			s.refuse(4)
			s.receive("e1", 1)
			s.d.receive(receipt{text: text(alice, 3), offset: 30, epoch: "e1", gap: true})
		}, wrong: lost, count: 1},
		{name: "a message that should follow a hello with a gap", all: true, tell: func(s *story) {
			s.refuse(4)
			s.accept(6, "e2", 60)
			s.hello("e2", 50, true)
		}, wrong: lost, count: 2}, // on the device, and for the user

		{name: "an epoch announces a loss", all: true, tell: func(s *story) {
			s.receive("e1", 1, 2)
			s.replace()
			s.hello("e2", 0, true)
			s.accept(6, "e2", 7)
			s.d.receive(receipt{text: text(alice, 6), offset: 7, epoch: "e2", connection: s.connection})
		}},
		{name: "an epoch, and a device that never connected before", all: true, tell: func(s *story) {
			s.replace()
			s.hello("e2", 0, false)
		}},
		{name: "an epoch without a gap", all: true, tell: func(s *story) {
			s.receive("e1", 1, 2, 3, 4)
			s.replace()
			s.hello("e2", 0, false)
		}, wrong: silent, count: 1},
		{name: "a loss in the new epoch", tell: func(s *story) { s.replace(); s.accept(6, "e2", 7) }, wrong: lost, count: 1},

		{name: "swapped", tell: func(s *story) { s.receive("e1", 1, 3, 2, 4) }, wrong: reordered, count: 1},
		{name: "a late duplicate hides nothing", tell: func(s *story) {
			s.receive("e1", 2, 1)
			s.connection++
			s.receive("e1", 2, 3, 4)
		}, wrong: reordered, count: 1},
		{name: "earlier ones after positions were lost", tell: func(s *story) {
			s.receive("e1", 1, 4)
			s.h.startBreak()
			s.connection++
			s.receive("e1", 2, 3, 4)
		}},
		{name: "swapped after positions were lost", tell: func(s *story) {
			s.h.startBreak()
			s.receive("e1", 1, 3, 2, 4)
		}, wrong: reordered, count: 1},
		{name: "twice in a connection", tell: func(s *story) { s.receive("e1", 1, 2, 2, 3, 4) }, wrong: repeated, count: 1},
		{name: "twice in a connection, before and after its storage was replaced", tell: func(s *story) {
			s.receive("e1", 1, 2, 3, 4)
			s.replace()
			s.receive("e2", 4)
		}},
		{name: "twice in a connection, after its storage was replaced", tell: func(s *story) {
			s.replace()
			s.receive("e1", 1, 2, 3, 4, 4)
		}, wrong: repeated, count: 1},

		{name: "for another user", tell: func(s *story) {
			s.receive("e1", 1, 2, 3, 4)
			s.d.receive(receipt{text: text(bob, 1)})
		}, wrong: foreign, count: 1},
		{name: "never pushed", tell: func(s *story) { s.receive("e1", 1, 2, 3, 4, 9) }, wrong: foreign, count: 1},
		{name: "garbage", tell: func(s *story) {
			s.receive("e1", 1, 2, 3, 4)
			s.d.receive(receipt{text: "alice 1\x00"})
		}, wrong: foreign, count: 1},
		{name: "a damaged payload", tell: func(s *story) {
			s.receive("e1", 1, 2, 3, 4)
			s.h.tryPadded(alice, 6, 5)
			s.d.receive(receipt{text: "alice 6 xxXx"})
		}, wrong: foreign, count: 1},

		{name: "a false gap", tell: func(s *story) {
			s.receive("e1", 1, 2, 3)
			s.d.receive(receipt{text: text(alice, 4), offset: 40, epoch: "e1", gap: true})
		}, wrong: gaps, count: 1},
		{name: "a false gap in a hello", tell: func(s *story) { s.hello("e1", 0, true); s.receive("e1", 1, 2, 3, 4) }, wrong: gaps, count: 1},
		{name: "a gap before messages can be missing", tell: func(s *story) {
			s.hello("e1", 0, true)
			s.receive("e1", 1, 2, 3, 4)
			s.refuse(1)
		}, wrong: gaps, count: 1},

		{name: "another offset", tell: func(s *story) {
			s.receive("e1", 1, 2, 3)
			s.d.receive(receipt{text: text(alice, 4), offset: 41, epoch: "e1"})
		}, wrong: offsets, count: 1},
		{name: "another offset in another epoch", tell: func(s *story) {
			s.receive("e1", 1, 2, 3)
			s.d.receive(receipt{text: text(alice, 4), offset: 41, epoch: "e2"})
		}, wrong: offsets, count: 1},
		{name: "stored twice without an answer", tell: func(s *story) {
			s.receive("e1", 1, 2, 3, 4, 5)
			s.d.receive(receipt{text: text(alice, 5), offset: 60, epoch: "e1", connection: 1})
		}, wrong: offsets, count: 1},
		{name: "offsets go back", tell: func(s *story) { s.receive("e1", 1, 2, 3, 4); s.accept(4, "e2", 30) }, wrong: offsets, count: 2},
		{name: "offsets begin again in a new epoch", tell: func(s *story) {
			s.receive("e1", 1, 2, 3, 4)
			s.replace()
			s.accept(6, "e2", 1)
			s.d.receive(receipt{text: text(alice, 6), offset: 1, epoch: "e2", gap: true})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStory(test.all)
			test.tell(s)
			v := s.h.check()
			if test.wrong == nil {
				if err := v.Err(); err != nil {
					t.Fatal(err)
				}
				return
			}
			if found := test.wrong(v); len(found) != test.count {
				t.Errorf("found %q, want %d", found, test.count)
			}
			if v.Err() == nil {
				t.Error("no error")
			}
		})
	}
}

func TestCounts(t *testing.T) {
	s := newStory(true)
	s.receive("e1", 1, 2)
	s.hello("e1", 10, false)
	s.receive("e1", 2, 3)
	s.refuse(4)
	s.hello("e2", 30, true)
	v := s.h.check()
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"refusal": 1} // message 4
	if v.Accepted != 4 || v.Unknown != 2 || v.Received != 4 || v.Duplicates != 1 || !maps.Equal(v.Announced, want) {
		t.Errorf("%+v", v)
	}
	if m := slices.Sorted(maps.Keys(s.h.missing(s.d))); !slices.Equal(m, []string{"alice 4"}) {
		t.Errorf("missing %q", m)
	}
}
