package presence

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"fanfare/server/node"
)

// observer is the OccupantObserver of a node.
type observer struct {
	mu    sync.Mutex
	here  map[node.Occupant]bool // as FollowOccupants says
	said  []string               // by FollowOccupants, without what is whole
	whole int                    // calls of FollowOccupants that were whole
	gone  int
	w     *world
}

func (o *observer) FollowOccupants(changes []node.OccupantChange, whole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if whole {
		o.whole++
		o.here = nil
	}
	if o.here == nil {
		o.here = make(map[node.Occupant]bool)
	}
	for _, c := range changes {
		if delete(o.here, c.Occupant); c.Present {
			o.here[c.Occupant] = true
		}
		if !whole {
			o.said = append(o.said, text(c))
		}
	}
}

func text(c node.OccupantChange) string {
	return map[bool]string{true: "+", false: "-"}[c.Present] + strings.Join([]string{c.Topic, c.Member, c.Info}, "/")
}

func (o *observer) LeadOccupants(present []node.Occupant) {
	var all []string
	for _, p := range present {
		all = append(all, p.Topic+"/"+p.Member)
	}
	slices.Sort(all)
	o.w.note("lead " + fmt.Sprint(all))
}

func (o *observer) ReportOccupants(changes []node.OccupantChange) {
	for _, c := range changes {
		o.w.note(text(c))
	}
}

func (w *world) note(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = append(w.members, line)
}

func (o *observer) NodeGone() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone++
}

// wants waits until these occupants are followed.
func (o *observer) wants(t *testing.T, want ...node.Occupant) {
	t.Helper()
	var got map[node.Occupant]bool
	defer func() {
		if t.Failed() {
			t.Logf("followed: %v", got)
		}
	}()
	until(t, fmt.Sprint(want), func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		got = maps.Clone(o.here)
		return len(got) == len(want) && !slices.ContainsFunc(want, func(w node.Occupant) bool { return !got[w] })
	})
}

// TestOccupants: every node follows the occupants with a member of all nodes, in one order; one node
// reports them and the topics; what a killed node has held leaves; a node that starts, and one for
// which NATS was away, read all there are.
func TestOccupants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := func(name string) (*Service, *observer) {
		s, err := Open(Config{URL: w.nats.ClientURL(), Name: name, Occupants: true, Logger: quiet, speed: 10})
		if err != nil {
			t.Fatal(err)
		}
		o := &observer{w: w}
		return s, o
	}
	alice, room := node.Occupant{Topic: "room", Member: "alice", Info: "{\n}"}, node.Occupant{Topic: "room"}
	a, seenByA := start("a")
	if a.Current() {
		t.Error("a node that follows nothing is current")
	}
	a.Occupy(room, true)
	a.Occupy(alice, true)
	a.ServeOccupants(seenByA)
	seenByA.wants(t, alice)
	w.wantsMembersInAnyOrder("lead []", "+room//", "+room/alice/{\n}")
	until(t, "a is current", a.Current)

	b, seenByB := start("b")
	b.ServeOccupants(seenByB)
	seenByB.wants(t, alice)
	bob := node.Occupant{Topic: "room", Member: "bob"}
	b.Occupy(bob, true)
	b.Occupy(alice, true) // who is there already
	seenByA.wants(t, alice, bob)
	seenByB.wants(t, alice, bob)
	b.Occupy(bob, false)
	seenByA.wants(t, alice)
	carol := node.Occupant{Topic: "room", Member: "carol"}
	a.Occupy(carol, true)
	seenByB.wants(t, alice, carol)
	w.wantsMembersInAnyOrder("lead []", "+room//", "+room/alice/{\n}", "+room/bob/", "-room/bob/", "+room/carol/")
	marked(t, a)

	kill(a) // alice is still at b
	seenByB.wants(t, alice)
	until(t, "b leads", b.Leads)
	until(t, "b has heard of it", func() bool {
		seenByB.mu.Lock()
		defer seenByB.mu.Unlock()
		return seenByB.gone == 1
	})
	w.wantsMembersInAnyOrder("lead []", "+room//", "+room/alice/{\n}", "+room/bob/", "-room/bob/", "+room/carol/",
		"lead [room/ room/alice room/carol]", "-room//", "-room/carol/")
	seenByB.mu.Lock()
	if got, want := seenByB.said, []string{"+room/bob/", "-room/bob/", "+room/carol/", "-room/carol/"}; !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	seenByB.mu.Unlock()

	w.nats.Stop()
	until(t, "NATS is away", func() bool { return !b.Current() })
	b.Occupy(bob, true)
	w.nats.Start()
	seenByB.wants(t, alice, bob)
	until(t, "b is current", b.Current)
	seenByB.mu.Lock()
	if seenByB.whole < 2 {
		t.Error("after an outage, a node does not read all occupants")
	}
	seenByB.mu.Unlock()
	b.Close()
}
