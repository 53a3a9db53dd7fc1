package trace

import (
	"errors"
	"strings"
	"testing"
	"time"

	"fanfare/server/node"
)

func event(reason string) node.TraceEvent { return node.TraceEvent{Reason: reason} }

func reasons(b *Batch) string {
	var all []string
	for _, e := range b.Events {
		all = append(all, e.Reason)
	}
	return strings.Join(all, " ")
}

// TestPoll: a repeated question loses nothing, a trace that is forgotten begins anew, and numbers
// never repeat.
func TestPoll(t *testing.T) {
	table, id := NewTable(), NewID()
	now := time.Second
	seen := map[string]uint64{}
	poll := func(want string, forgot bool) {
		t.Helper()
		for i := range 2 { // the first answer is lost
			b, err := table.Poll(id, "a", false, seen, now)
			if err != nil || reasons(b) != want || b.Lost != 0 || b.Forgot != forgot || b.More {
				t.Fatalf("%+v, %v, want %q", b, err, want)
			}
			if i == 1 {
				seen[b.Source] = b.Last
			}
		}
	}
	if table.Running() || table.Of("a") != nil {
		t.Error("a trace runs")
	}
	poll("", false)
	if !table.Running() || len(table.Of("a")) != 1 || table.Of("b") != nil {
		t.Error("the trace does not run")
	}
	table.Of("a")[0].Add(event("1"))
	table.Of("a")[0].Add(event("2"))
	poll("1 2", false)
	table.Of("a")[0].Add(event("3"))
	poll("3", false)
	now += Lease
	table.Sweep(now)
	if !table.Running() {
		t.Error("the trace has ended before its lease")
	}
	now++
	table.Sweep(now)
	if table.Running() {
		t.Error("the trace runs without polls")
	}
	poll("", true)
	table.Of("a")[0].Add(event("4"))
	poll("4", false)
	table.End(id)
	table.End(id)
	if table.Running() || table.Of("a") != nil {
		t.Error("the trace runs after its end")
	}
}

func TestLimits(t *testing.T) {
	table, ids := NewTable(), []string{}
	for range MaxTraces {
		ids = append(ids, NewID())
		if _, err := table.Poll(ids[len(ids)-1], "a", false, nil, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := table.Poll(NewID(), "b", false, nil, 1); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if n := len(table.Of("a")); n != MaxTraces {
		t.Errorf("%d traces of the user", n)
	}
	l := table.Of("a")[0]
	first, _ := table.Poll(ids[0], "a", false, nil, 1)
	id := ids[0]
	for i, x := range ids { // which trace l is
		if table.byID[x] == l {
			id = ids[i]
		}
	}
	for range maxEvents + 7 {
		l.Add(event("x"))
	}
	seen := map[string]uint64{first.Source: l.begin}
	count, lost := 0, uint64(0)
	for more := true; more; {
		b, err := table.Poll(id, "a", false, seen, 1)
		if err != nil {
			t.Fatal(err)
		}
		seen[b.Source] = b.Last
		count, lost, more = count+len(b.Events), lost+b.Lost, b.More
	}
	if uint64(count)+lost != maxEvents+7 || count*costOf(&node.TraceEvent{Reason: "x"}) > maxCost || count < 1000 {
		t.Errorf("%d events, %d lost", count, lost)
	}
	text := strings.Repeat("x", MaxPayload)
	for range 100 {
		l.Add(node.TraceEvent{Text: &text})
	}
	if l.cost > maxCost || len(l.events) < 60 || l.cost != len(l.events)*costOf(&l.events[0]) {
		t.Errorf("%d events cost %d", len(l.events), l.cost)
	}
}

func TestCheckID(t *testing.T) {
	if err := CheckID(NewID()); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"", "x", "0123456789ABCDEF", "0123456789abcdef0", strings.Repeat("z", 16)} {
		if CheckID(id) == nil {
			t.Errorf("%q is an ID", id)
		}
	}
}
