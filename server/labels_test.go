package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/pace"
	"fanfare/server/where"
)

func expression(t testing.TB, text string) *where.Expr {
	t.Helper()
	e, err := where.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Pushes of every kind select by labels, on all nodes.
func TestWhere(t *testing.T) {
	cluster := newFakeClusters(2)
	a, b := start(t, Config{Cluster: cluster[0]}), start(t, Config{Cluster: cluster[1]})
	clients := map[string]*client{
		"old":  dial(t, a, "/ws?user=u&topic=t&label=platform=ios&label=version=5.1.9"),
		"new":  dial(t, b, "/ws?user=u&topic=t&label=platform=ios&label=version=5.10"),
		"web":  dial(t, b, "/ws?user=v&topic=t&label=platform=web"),
		"none": dial(t, a, "/ws?user=w&topic=t"),
	}
	if s := only(t, a, "w"); s.ext.Load() != nil || s.Labels() != nil {
		t.Error("a session without labels has an extension")
	}
	if got := only(t, b, "v").Labels(); !maps.Equal(got, map[string]string{"platform": "web"}) {
		t.Errorf("labels are %v", got)
	}
	for _, test := range []struct {
		to    Audience
		where string
		want  []string
	}{
		{everyone, `platform == "ios" && version < "5.2"`, []string{"old"}},
		{everyone, `!has platform || platform == "web"`, []string{"none", "web"}},
		{Audience{Topics: []string{"t"}}, `version >= "5"`, []string{"new", "old"}},
		{Audience{Users: []string{"u"}}, `version > "5.2"`, []string{"new"}},
		{Audience{Users: []string{"u", "v"}}, `platform in ("web")`, []string{"web"}},
		{Audience{Everyone: true, ExcludeUsers: []string{"u"}}, `has platform`, []string{"web"}},
		{everyone, `has nothing`, nil},
	} {
		test.to.Where = expression(t, test.where)
		d, err := a.Deliver(t.Context(), test.to, NewMessage(Text, []byte("x")))
		if err != nil || d.Receivers != len(test.want) || !d.Complete() {
			t.Errorf("%s: got %+v, %v", test.where, d, err)
		}
		broadcast(a, Text, []byte("end"))
		for name, c := range clients {
			if got := len(c.got()); got != strings.Count(strings.Join(test.want, " "), name) {
				t.Errorf("%s: %s got %d messages", test.where, name, got)
			}
		}
	}
	paced := startPaced(t, a, Audience{Everyone: true, Where: expression(t, `platform == "ios"`)}, "x", Pace{Over: MinPace})
	awaitPaced(t, a, paced.ID, 2, PacedDone)
}

// Sessions with equal labels share them, and a refresh replaces them.
func TestLabelsOfSessions(t *testing.T) {
	srv := start(t, Config{})
	dial(t, srv, "/ws?user=a&label=platform=ios&label=plan=team")
	dial(t, srv, "/ws?user=b&label=plan=team&label=platform=ios")
	a, b := only(t, srv, "a"), only(t, srv, "b")
	if a.ext.Load().labels != b.ext.Load().labels {
		t.Error("equal labels are not shared")
	}
	if _, err := a.Refresh(Identity{User: "a", Labels: map[string]string{"plan": "free"}}); err != nil || !maps.Equal(a.Labels(), map[string]string{"plan": "free"}) {
		t.Errorf("after a refresh: %v, %v", a.Labels(), err)
	}
	if _, err := a.Refresh(Identity{User: "a", Labels: map[string]string{"in": "x"}}); err == nil || a.Labels()["plan"] != "free" {
		t.Errorf("a refresh with wrong labels: %v, %v", a.Labels(), err)
	}
	if _, err := srv.RefreshUser(t.Context(), "a", IdentityChange{Subscribe: &[]string{"x"}}); err != nil || a.Labels()["plan"] != "free" {
		t.Errorf("a change of something else: %v, %v", a.Labels(), err)
	}
	if _, err := a.Refresh(Identity{User: "a"}); err != nil || a.Labels() != nil {
		t.Errorf("a refresh without labels: %v, %v", a.Labels(), err)
	}
	for _, query := range []string{"label=x", "label=has=x", "label=a=1&label=a=2", "label=a=%00"} {
		c := connect(t, srv)
		c.say(handshakeFor("/ws?user=c&" + query))
		if resp := c.answer(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", query, resp.StatusCode)
		}
	}
}

// An expression costs no allocation for a receiver, at once and paced.
func TestWhereAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	srv := start(t, Config{PingInterval: time.Hour})
	const sessions = 300
	for i := range sessions {
		dial(t, srv, fmt.Sprintf("/ws?user=u%d&label=platform=ios&label=version=5.%d", i, i%2))
	}
	to := Audience{Everyone: true, Where: expression(t, `platform == "ios" && version < "5.1"`)}
	m := NewMessage(Text, []byte("x"))
	n := mallocs(func() {
		for range 20 {
			if d, err := srv.Deliver(t.Context(), to, m); err != nil || d.Receivers != sessions/2 {
				t.Fatalf("got %+v, %v", d, err)
			}
		}
	})
	if n > 20*40 {
		t.Errorf("%d allocations for 20 messages", n)
	}
	w := &pacedWalk{srv: srv, do: srv.sender(m), sel: srv.selectionOf(&to), born: srv.tick.Load()}
	if n := testing.AllocsPerRun(5, func() {
		w.at = netpoll.Cursor{}
		for more := true; more; {
			_, _, more = w.next(pace.Portion)
		}
	}); n > 3 {
		t.Errorf("paced: %v allocations", n)
	}
}

// BenchmarkBroadcastWhere compares broadcasts that select every session by its labels with
// ordinary ones, in turns, and reports the ratio of the medians.
func BenchmarkBroadcastWhere(b *testing.B) {
	const sessions = 9000 // and as many clients
	srv := start(b, Config{PingInterval: time.Hour})
	for i := range sessions {
		dial(b, srv, fmt.Sprintf("/ws?user=u%d&label=platform=%s&label=version=5.%d&label=plan=team", i, []string{"ios", "android"}[i%2], i%20))
	}
	to := Audience{Everyone: true, Where: expression(b, `platform in ("ios", "android") && version < "5.20"`)}
	m := NewMessage(Text, []byte("x"))
	times := make([][]time.Duration, 2)
	for b.Loop() {
		for i, to := range []Audience{everyone, to} {
			began := time.Now()
			if d, err := srv.Deliver(context.Background(), to, m); err != nil || d.Receivers != sessions {
				b.Fatalf("got %+v, %v", d, err)
			}
			times[i] = append(times[i], time.Since(began))
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	plain, filtered := times[0][len(times[0])/2], times[1][len(times[1])/2]
	b.ReportMetric(float64(filtered)/float64(plain), "filtered/plain")
	b.ReportMetric(float64(plain.Nanoseconds())/sessions, "plain-ns/receiver")
}
