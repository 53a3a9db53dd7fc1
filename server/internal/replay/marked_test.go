package replay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fanfare/server/store"
)

// markedReceiver is a receiver whose messages carry its positions.
type markedReceiver struct {
	*receiver
	got []string
}

func (r *markedReceiver) WriteMarked(f Frame, at Positions) bool {
	var b strings.Builder
	if f != nil {
		b.WriteString(f.(*wire).String() + " ")
	}
	for _, p := range at.AppendPositions(nil) {
		fmt.Fprintf(&b, "[%s@%d]", p.Topic, p.Offset)
	}
	r.got = append(r.got, b.String())
	return r.phase == Open
}

// connectMarked opens a receiver that acknowledges by resuming.
func (g *rig) connectMarked(user string, inbox Start, topics ...Subscription) *markedReceiver {
	r := &markedReceiver{receiver: g.receiver(user, AckByResume)}
	r.noPings = true
	r.since = g.clock.Now().Truncate(tickInterval)
	g.Attach(r, inbox, topics)
	r.phase = Open
	g.Open(r)
	g.work()
	return r
}

func (r *markedReceiver) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(r.got, want) {
		t.Errorf("got %q, want %q", r.got, want)
	}
	r.got = nil
}

// Each message has the positions of all streams, itself included, and the client is told them
// once before the first message.
func TestMarks(t *testing.T) {
	g := newRig(t)
	r := g.connectMarked("alice", Start{}, Subscription{Topic: "news"})
	r.want(t, "[@0][news@0]")
	notify := func(b store.Box, text string) uint64 {
		m := g.store.append(b, text, 0)
		g.Notify(r, g.NewNotice(b, m.Offset, m.Prev, text))
		g.work()
		return m.Offset
	}
	i1 := notify(inboxOf("alice"), "i1")
	n1 := notify(topic("news"), "n1")
	i2 := notify(inboxOf("alice"), "i2")
	r.want(t, fmt.Sprintf("i1 [@%d][news@0]", i1), fmt.Sprintf("newsn1 [@%d][news@%d]", i1, n1), fmt.Sprintf("i2 [@%d][news@%d]", i2, n1))
	g.wantAcked(inboxOf("alice"), "alice", -1)

	// The position that the client names is acknowledged, and names the stream while the
	// store does not answer.
	r.phase = Ended
	g.Detach(r, 0)
	epoch := g.store.Epoch(inboxOf("alice"))
	r = g.connectMarked("alice", Start{Resume: true, Epoch: epoch, Offset: i1}, Subscription{Topic: "news", Start: Start{Resume: true, Epoch: g.store.Epoch(topic("news")), Offset: n1}})
	r.want(t, fmt.Sprintf("i2 [@%d][news@%d]", i2, n1), fmt.Sprintf("[@%d][news@%d]", i2, n1)) // news begins after i2
	g.wantAcked(inboxOf("alice"), "alice", int(i1))
	g.wantAcked(topic("news"), "alice", int(n1))
}

// A position of another history acknowledges nothing.
func TestResumeElsewhere(t *testing.T) {
	g := newRig(t)
	g.store.append(inboxOf("alice"), "i1", 0)
	r := g.connectMarked("alice", Start{Resume: true, Epoch: "other", Offset: 1})
	if len(r.got) != 1 || !strings.HasPrefix(r.got[0], "i1 ") {
		t.Errorf("got %q", r.got)
	}
	g.wantAcked(inboxOf("alice"), "alice", -1)
}

// An idle session that has nothing stored needs no state, and its messages have positions all
// the same.
func TestMarksWithoutState(t *testing.T) {
	g := newRig(t)
	r := g.connectMarked("alice", Start{})
	if n := g.Stats().Sessions; n != 0 {
		t.Fatalf("%d sessions have state", n)
	}
	r.want(t, "[@0]")
	m := g.store.append(inboxOf("alice"), "i1", 0)
	g.Notify(r, g.NewNotice(inboxOf("alice"), m.Offset, m.Prev, "i1"))
	g.work()
	r.want(t, fmt.Sprintf("i1 [@%d]", m.Offset))
}

func TestAckUser(t *testing.T) {
	g := newRig(t, func(cfg *Config) { cfg.PositionsPerUser = 1 })
	var last uint64
	for range 3 {
		last = g.store.append(inboxOf("alice"), "x", 0).Offset
	}
	for _, name := range []string{"a", "b", "c"} {
		g.store.append(topic(name), "x", 0)
	}
	first := func(name string) Position { return Position{Topic: name, Epoch: g.store.Epoch(topic(name)), Offset: 1} }
	epoch := g.store.Epoch(inboxOf("alice"))
	for _, test := range []struct {
		name   string
		b      store.Box
		exempt bool
		at     Position
		want   error
		acked  int
	}{
		{"inbox", inboxOf("alice"), false, Position{Epoch: epoch, Offset: 1}, nil, 1},
		{"later", inboxOf("alice"), false, Position{Epoch: epoch, Offset: last}, nil, int(last)},
		{"earlier", inboxOf("alice"), false, Position{Epoch: epoch, Offset: 1}, nil, int(last)},
		{"nothing", inboxOf("bob"), false, Position{Epoch: epoch}, nil, -1},
		{"another history", inboxOf("alice"), false, Position{Epoch: "other", Offset: 1}, ErrEpoch, int(last)},
		{"topic", topic("a"), false, first("a"), nil, 1},
		{"a topic too many", topic("b"), false, first("b"), ErrPositions, -1},
		{"a topic that the server chose", topic("c"), true, first("c"), nil, 1},
	} {
		user := "alice"
		if test.b.User == "bob" {
			user = "bob"
		}
		if err := g.AckUser(t.Context(), user, test.b, netip.Addr{}, test.exempt, test.at); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		g.wantAcked(test.b, user, test.acked)
	}
}
