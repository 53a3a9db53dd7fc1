package presence

import (
	"testing"
	"time"
)

// TestNewSession: what a member does not name when it sends all that it holds again is not
// held any more.
func TestNewSession(t *testing.T) {
	alice, member := NameOf(User, "alice"), ID{2}
	n := New(ID{1}, 0)
	n.Elected(1, nil)
	n.Receive(member, &Message{Kind: Part, Term: 1, Session: 1, Last: true, Items: []Item{{alice, true}}})
	if w := n.Take().Write; len(w) != 1 || !w[0].Present || w[0].Name != alice {
		t.Fatalf("%+v", w)
	}
	n.Written(1, true)
	n.Receive(member, &Message{Kind: Part, Term: 1, Session: 2, Last: true})
	for i := range 4 {
		n.Receive(member, &Message{Kind: Beat, Term: 1, Session: 2, Round: uint64(i)})
		n.Tick(time.Duration(i)*TickEvery, time.Now(), true)
		if w := n.Take().Write; len(w) == 1 && w[0].Name == alice && !w[0].Present {
			return
		}
	}
	t.Error("alice is not reported as absent")
}

// TestElectedTooLate: a node does not lead a term that is older than one it has heard of.
func TestElectedTooLate(t *testing.T) {
	n := New(ID{1}, 0)
	n.Receive(ID{2}, &Message{Kind: Lead, Term: 9, Round: 1})
	n.Elected(5, nil)
	if n.Term() != 0 || n.Leader() != (ID{2}) {
		t.Errorf("leads term %d, leader %v", n.Term(), n.Leader())
	}
}
