package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/pace"
	"fanfare/server/node"
)

// got returns what a client has received up to a broadcast that says "end".
func (c *client) got() (list []string) {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		switch {
		case err != nil:
			c.t.Fatal(err)
		case op != Text: // a ping
		case string(payload) == "end":
			return list
		default:
			list = append(list, string(payload))
		}
	}
}

func startPaced(t testing.TB, srv *Server, to Audience, text string, p Pace) PacedDelivery {
	t.Helper()
	d, err := srv.StartPaced(context.Background(), to, NewMessage(Text, []byte(text)), p)
	if err != nil || !d.Complete() || d.ID == "" {
		t.Fatalf("got %+v, %v", d, err)
	}
	return d
}

// awaitPaced waits until a paced broadcast has so many receivers, and returns it.
func awaitPaced(t testing.TB, srv *Server, id string, receivers int, state PacedState) (d PacedDelivery) {
	t.Helper()
	await(t, fmt.Sprint(receivers, " receivers, ", state), func() bool {
		var err error
		if d, err = srv.FindPaced(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		if d.Receivers > receivers {
			t.Fatalf("%d receivers, want %d", d.Receivers, receivers)
		}
		return d.Receivers == receivers && d.State == state
	})
	return d
}

var everyone = Audience{Everyone: true}

func TestPaced(t *testing.T) {
	overTransports(t, func(t *testing.T, kind netpoll.Transport) {
		srv, h := startStopped(t, Config{Transport: kind, PingInterval: time.Hour})
		var clients []*client
		for i := range 40 {
			clients = append(clients, dial(t, srv, fmt.Sprint("/ws?user=u", i, "&topic=t", i%2)))
		}
		all := startPaced(t, srv, everyone, "all", Pace{Over: 10 * time.Second})
		half := startPaced(t, srv, Audience{Topics: []string{"t1"}}, "half", Pace{Over: 10 * time.Second, Key: "k"})
		if all.Of != 40 || half.Of != 20 || half.Topic != "t1" || half.Key != "k" || all.State != PacedRunning || all.Until.Sub(all.Started) != 10*time.Second {
			t.Errorf("got %+v and %+v", all, half)
		}
		h.pass(2 * tick) // times of sessions are that coarse
		late := dial(t, srv, "/ws?user=late&topic=t1")
		for i := 1; i <= 4; i++ {
			h.pass(time.Second)
			awaitPaced(t, srv, all.ID, 4*i, PacedRunning)
			awaitPaced(t, srv, half.ID, 2*i, PacedRunning)
		}
		h.pass(6*time.Second - 2*tick)
		awaitPaced(t, srv, half.ID, 20, PacedDone)
		if d := awaitPaced(t, srv, all.ID, 40, PacedDone); d.Ended != d.Until {
			t.Errorf("ended at %v, want %v", d.Ended, d.Until)
		}
		broadcast(srv, Text, []byte("end"))
		for i, c := range clients {
			want := []string{"all"}
			if i%2 == 1 {
				want = append(want, "half")
			}
			if got := slices.Sorted(slices.Values(c.got())); !slices.Equal(got, want) {
				t.Errorf("client %d got %q", i, got)
			}
		}
		if got := late.got(); len(got) != 0 {
			t.Errorf("a session that opened later got %q", got)
		}
		if d := srv.Stats().Delivered; d["broadcast"] != 40+41 || d["topic"] != 20 {
			t.Errorf("counted %v", d)
		}
	})
}

// What each session sees if a paced broadcast is replaced: the new message once, and before
// it the old one or not.
func TestPacedReplaced(t *testing.T) {
	srv, h := startStopped(t, Config{PingInterval: time.Hour})
	var clients []*client
	for i := range 20 {
		clients = append(clients, dial(t, srv, fmt.Sprint("/ws?user=u", i)))
	}
	first := startPaced(t, srv, everyone, "old", Pace{Over: 10 * time.Second, Key: "flag"})
	h.pass(4 * time.Second)
	awaitPaced(t, srv, first.ID, 8, PacedRunning)
	second := startPaced(t, srv, everyone, "new", Pace{Over: 10 * time.Second, Key: "flag"})
	awaitPaced(t, srv, first.ID, 8, PacedReplaced)
	h.pass(10 * time.Second)
	awaitPaced(t, srv, second.ID, 20, PacedDone)
	broadcast(srv, Text, []byte("end"))
	both := 0
	for i, c := range clients {
		switch got := c.got(); {
		case slices.Equal(got, []string{"old", "new"}):
			both++
		case !slices.Equal(got, []string{"new"}):
			t.Errorf("client %d got %q", i, got)
		}
	}
	if both != 8 {
		t.Errorf("%d sessions got both, want 8", both)
	}
}

func TestPacedEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(srv *Server, id string) error
		want PacedState
	}{
		{"canceled", func(srv *Server, id string) error { _, err := srv.CancelPaced(context.Background(), id); return err }, PacedCanceled},
		{"drained", func(srv *Server, id string) error {
			done, cancel := context.WithCancel(context.Background())
			cancel()
			srv.Drain(done)
			return nil
		}, PacedStopped},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := new(logBuffer)
			srv, h := startStopped(t, Config{PingInterval: time.Hour, Logger: log.logger(), DrainDelay: 0})
			for i := range 20 {
				dial(t, srv, fmt.Sprint("/ws?user=u", i))
			}
			d := startPaced(t, srv, everyone, "x", Pace{Over: 10 * time.Second})
			h.pass(5 * time.Second)
			awaitPaced(t, srv, d.ID, 10, PacedRunning)
			if err := test.end(srv, d.ID); err != nil {
				t.Fatal(err)
			}
			h.pass(10 * time.Second)
			if d := awaitPaced(t, srv, d.ID, 10, test.want); d.Ended.Sub(d.Started) != 5*time.Second {
				t.Errorf("ended after %v", d.Ended.Sub(d.Started))
			}
			await(t, "log line", func() bool { return log.count("paced broadcast ended") == 1 })
			if list := srv.ListPaced(context.Background()); len(list.Broadcasts) != 1 || list.Broadcasts[0].ID != d.ID {
				t.Errorf("listed: %+v", list)
			}
		})
	}
}

func TestPacedErrors(t *testing.T) {
	srv, _ := startStopped(t, Config{MaxPayload: 10})
	ctx := context.Background()
	good := Pace{Over: time.Second}
	for _, test := range []struct {
		name string
		to   Audience
		text string
		p    Pace
		want error
		says string
	}{
		{"users", Audience{Users: []string{"a"}}, "x", good, ErrAudience, "everyone or to one topic"},
		{"nobody", Audience{}, "x", good, ErrAudience, "everyone or to one topic"},
		{"two topics", Audience{Topics: []string{"a", "b"}}, "x", good, ErrAudience, "everyone or to one topic"},
		{"everyone and a topic", Audience{Everyone: true, Topics: []string{"a"}}, "x", good, ErrAudience, "remove"},
		{"topic name", Audience{Topics: []string{"\x00"}}, "x", good, ErrAudience, "topic"},
		{"no time", everyone, "x", Pace{}, ErrAudience, "over is 0s"},
		{"long time", everyone, "x", Pace{Over: time.Hour + 1}, ErrAudience, "want 100ms to 1h"},
		{"long key", everyone, "x", Pace{Over: time.Second, Key: strings.Repeat("k", 257)}, ErrAudience, "257 bytes"},
		{"long message", everyone, "longer than 10", good, ErrTooBig, "14 bytes"},
	} {
		_, err := srv.StartPaced(ctx, test.to, NewMessage(Text, []byte(test.text)), test.p)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for range MaxPaced {
		startPaced(t, srv, everyone, "x", good)
	}
	if _, err := srv.StartPaced(ctx, everyone, NewMessage(Text, nil), good); !errors.Is(err, ErrManyPaced) {
		t.Errorf("one too many: %v", err)
	}
	for _, id := range []string{"", "x", strings.Repeat("0", node.PacedIDSize)} {
		if _, err := srv.FindPaced(ctx, id); !errors.Is(err, ErrNoPaced) {
			t.Errorf("FindPaced(%q): %v", id, err)
		}
		if _, err := srv.CancelPaced(ctx, id); !errors.Is(err, ErrNoPaced) {
			t.Errorf("CancelPaced(%q): %v", id, err)
		}
	}
}

// Every node paces its own sessions, and the answers are of all nodes.
func TestPacedOnNodes(t *testing.T) {
	cluster := newFakeClusters(2)
	a, ha := startStopped(t, Config{Cluster: cluster[0], PingInterval: time.Hour})
	b, hb := startStopped(t, Config{Cluster: cluster[1], PingInterval: time.Hour})
	for i := range 10 {
		dial(t, a, fmt.Sprint("/ws?user=u", i))
		dial(t, b, fmt.Sprint("/ws?user=u", i))
	}
	// The clock of a is ahead: what b starts later wins all the same.
	a.wall = func() time.Time { return time.Now().Add(time.Hour) }
	first := startPaced(t, a, everyone, "old", Pace{Over: 10 * time.Second, Key: "k"})
	if first.Of != 20 {
		t.Errorf("got %+v", first)
	}
	pass := func(d time.Duration) { ha.pass(d); hb.pass(d) }
	pass(5 * time.Second)
	awaitPaced(t, b, first.ID, 10, PacedRunning)
	second := startPaced(t, b, everyone, "new", Pace{Over: 10 * time.Second, Key: "k"})
	awaitPaced(t, a, first.ID, 10, PacedReplaced)
	pass(5 * time.Second)
	awaitPaced(t, a, second.ID, 10, PacedRunning)
	ha.pass(5 * time.Second)
	awaitPaced(t, a, second.ID, 15, PacedRunning) // on b
	if d, err := a.CancelPaced(t.Context(), second.ID); err != nil || d.State != PacedCanceled || d.Receivers != 15 {
		t.Errorf("got %+v, %v", d, err)
	}
	if list := b.ListPaced(t.Context()).Broadcasts; len(list) != 2 || list[0].ID != first.ID || list[1].ID != second.ID {
		t.Errorf("listed: %+v", list)
	}
	// A node that cannot do it is missing.
	for range MaxPaced {
		startPacedHere(t, b)
	}
	d, err := a.StartPaced(t.Context(), everyone, NewMessage(Text, nil), Pace{Over: time.Minute})
	if err != nil || d.Complete() || !slices.Equal(d.MissingNodes, []string{cluster[1].name}) || d.Of != 10 {
		t.Errorf("got %+v, %v", d, err)
	}
	cluster[0].set(func(f *fakeCluster) { f.askErr = ErrUnreachable })
	if d, err := a.FindPaced(t.Context(), first.ID); err != nil || d.Complete() || d.Of != 10 {
		t.Errorf("got %+v, %v", d, err)
	}
	cluster[0].set(func(f *fakeCluster) { f.askErr, f.checkErr = nil, ErrTooBig })
	if _, err := a.StartPaced(t.Context(), everyone, NewMessage(Text, nil), Pace{Over: time.Minute}); !errors.Is(err, ErrTooBig) {
		t.Errorf("too big for the cluster: %v", err)
	}
}

// startPacedHere starts a paced broadcast on one node of a cluster.
func startPacedHere(t *testing.T, srv *Server) {
	t.Helper()
	c := &Command{Verb: VerbPaced, Audience: everyone, ID: srv.paced.NewID(srv.wall()), Over: time.Hour, Op: Text}
	if _, err := srv.startPacedHere(c, NewMessage(Text, nil)); err != nil {
		t.Fatal(err)
	}
}

// A paced broadcast allocates nothing for a receiver, nor for a session that is not one.
func TestPacedAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const sessions = 200
	overTransports(t, func(t *testing.T, kind netpoll.Transport) {
		srv, _ := startStopped(t, Config{Transport: kind, PingInterval: time.Hour})
		for i := range sessions {
			dial(t, srv, fmt.Sprint("/ws?user=u", i, "&topic=t", i%2))
		}
		to := Audience{Topics: []string{"t1"}, ExcludeUsers: []string{"u1"}}
		w := &pacedWalk{srv: srv, do: srv.sender(NewMessage(Text, []byte("x"))), sel: srv.selectionOf(&to), topic: "t1", born: srv.tick.Load()}
		if n := w.receivers(); n != sessions/2-1 {
			t.Fatalf("%d receivers", n)
		}
		n := testing.AllocsPerRun(5, func() {
			w.at = netpoll.Cursor{}
			reached := 0
			for more := true; more; {
				var k int
				k, _, more = w.next(pace.Portion)
				reached += k
			}
			if reached != sessions/2-1 {
				t.Fatalf("%d were reached", reached)
			}
		})
		if n > 3 {
			t.Errorf("%v allocations for %d receivers", n, sessions/2-1)
		}
	})
}
