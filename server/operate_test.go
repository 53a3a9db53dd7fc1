package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/operate"
)

func TestOperateLists(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{PushEndpoint("/ws")}, CloseTimeout: time.Minute})
	ctx := t.Context()
	for i := range 5 {
		dial(t, srv, fmt.Sprintf("/ws?user=u%d&topic=t%d&topic=all", i, i%2))
	}
	dial(t, srv, "/ws?user=u1")
	dial(t, srv, "/ws?user=u1&topic=t1", "Sec-WebSocket-Protocol: fanfare.v1")
	closing := dial(t, srv, "/ws?user=u4")
	srv.Disconnect(ctx, "u4", 4000, "bye") // its clients do not answer, so that it stays in the registry
	closing.frame()

	for _, test := range []struct {
		q    PageQuery
		want string
	}{
		{PageQuery{Limit: 10}, "[{u0 1} {u1 3} {u2 1} {u3 1}] false"},
		{PageQuery{Limit: 2}, "[{u0 1} {u1 3}] true"},
		{PageQuery{Limit: 2, After: "u1"}, "[{u2 1} {u3 1}] false"},
		{PageQuery{Limit: 2, After: "u3"}, "[] false"},
		{PageQuery{Prefix: "u2"}, "[{u2 1}] false"},
		{PageQuery{Prefix: "v", Limit: 1}, "[] false"},
	} {
		l, err := srv.Users(ctx, test.q)
		if got := fmt.Sprint(l.Users, l.More); err != nil || got != test.want || !l.Complete() {
			t.Errorf("%+v: %s, %v, want %s", test.q, got, err, test.want)
		}
	}
	topics, err := srv.Topics(ctx, PageQuery{Prefix: "t", Limit: 1})
	if got := fmt.Sprint(topics.Topics, topics.More); err != nil || got != "[{t0 3}] true" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := srv.Users(ctx, PageQuery{Prefix: "\xff"}); !errors.Is(err, ErrPage) {
		t.Errorf("malformed prefix: %v", err)
	}

	var seen []string
	q := SessionQuery{User: "u1", Limit: 1}
	for pages := 0; pages < 3; pages++ {
		p, err := srv.UserSessionPage(ctx, q)
		if err != nil || len(p.Sessions) != 1 || (p.Next == "") != (pages == 2) {
			t.Fatalf("%+v, %v", p, err)
		}
		seen = append(seen, p.Sessions[0].ID)
		q.After = p.Next
	}
	if slices.Sort(seen); len(slices.Compact(seen)) != 3 {
		t.Errorf("sessions %q", seen)
	}
	if p, err := srv.UserSessionPage(ctx, SessionQuery{User: "u1", Dialect: ProtocolV1, Topic: "t1", Limit: 9}); err != nil || len(p.Sessions) != 1 || p.Sessions[0].Dialect != ProtocolV1 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := srv.UserSessionPage(ctx, SessionQuery{User: "u1", Dialect: "plain", Limit: 9}); err != nil || len(p.Sessions) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := srv.UserSessionPage(ctx, SessionQuery{User: "\n", Limit: 9}); !errors.Is(err, registry.ErrName) {
		t.Errorf("malformed user: %v", err)
	}
}

// TestPagesWhileUsersComeAndGo: users of all nodes are listed exactly once if they have a session
// from the first page to the last, whatever others do between the pages.
func TestPagesWhileUsersComeAndGo(t *testing.T) {
	cluster := newFakeClusters(3)
	var nodes []*Server
	for _, c := range cluster {
		nodes = append(nodes, start(t, Config{Cluster: c}))
	}
	ctx, stay := t.Context(), make(map[string]int)
	var leaving []*client
	for i := range 12 {
		user := fmt.Sprintf("stay%02d", i)
		for _, srv := range nodes[i%2 : i%2+1+i%3/2] { // some on two nodes
			dial(t, srv, "/ws?topic=topic-of-"+user+"&user="+user)
			stay[user]++
		}
		leaving = append(leaving, dial(t, nodes[i%3], fmt.Sprintf("/ws?user=stay%02dleaves", i)))
	}
	for limit := 1; limit <= 7; limit += 3 {
		seen, topics, after, pages := map[string]int{}, map[string]int{}, "", 0
		for more := true; more; pages++ {
			l, err := nodes[1].Users(ctx, PageQuery{Prefix: "stay", After: after, Limit: limit})
			if err != nil || len(l.Users) > limit || l.More && len(l.Users) < limit || !l.Complete() {
				t.Fatalf("page %d: %+v, %v", pages, l, err)
			}
			for _, u := range l.Users {
				if u.User <= after {
					t.Errorf("%s follows %s", u.User, after)
				}
				if after = u.User; stay[u.User] > 0 {
					if seen[u.User]++; u.Sessions != stay[u.User] {
						t.Errorf("%+v has %d sessions", u, stay[u.User])
					}
				}
			}
			dial(t, nodes[pages%3], fmt.Sprintf("/ws?user=stay%02dcomes", (pages*5)%12))
			if pages < len(leaving) {
				leaving[pages].Close()
			}
			more = l.More
		}
		for user := range stay {
			if seen[user] != 1 {
				t.Errorf("limit %d: %s is in %d pages", limit, user, seen[user])
			}
		}
		after = ""
		for more := true; more; {
			l, err := nodes[2].Topics(ctx, PageQuery{Prefix: "topic-of-", After: after, Limit: limit})
			if err != nil || len(l.Topics) == 0 {
				t.Fatalf("%+v, %v", l, err)
			}
			for _, x := range l.Topics {
				topics[x.Topic] += x.Subscribers
				after = x.Topic
			}
			more = l.More
		}
		for user, n := range stay {
			if topics["topic-of-"+user] != n {
				t.Errorf("limit %d: %d subscribers of the topic of %s, want %d", limit, topics["topic-of-"+user], user, n)
			}
		}
	}

	// A node that does not answer is missing, and the others are still listed in order.
	cluster[0].set(func(f *fakeCluster) { f.missing, f.missingNodes = 1, []string{"node/9"} })
	l, err := nodes[0].Users(ctx, PageQuery{Prefix: "stay00", Limit: 1})
	if err != nil || l.Complete() || !slices.Equal(l.MissingNodes, []string{"node/9"}) || l.Users[0].User != "stay00" {
		t.Errorf("%+v, %v", l, err)
	}
	p, err := nodes[0].UserSessionPage(ctx, SessionQuery{User: "stay02", Limit: 9})
	if err != nil || p.Complete() || len(p.Sessions) != stay["stay02"] {
		t.Fatalf("%+v, %v", p, err)
	}
	if d, err := nodes[0].CloseSession(ctx, "node/1/999999", 4000, ""); err != nil || d.Complete() {
		t.Errorf("no session: %+v, %v", d, err)
	}
	if d, err := nodes[0].CloseSession(ctx, p.Sessions[0].ID, 4000, ""); err != nil || !d.Complete() || d.Receivers != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := nodes[0].StartClose(ctx, CloseOrder{All: true, Rate: 1, Code: 1000}); err != nil || d.Complete() || d.Of < len(stay) {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := nodes[0].StartClose(ctx, CloseOrder{Node: "node/1", Rate: 1, Code: 1000}); err != nil {
		t.Errorf("another node: %v", err)
	}
	cluster[0].set(func(f *fakeCluster) { f.askErr = ErrUnreachable })
	if l, err := nodes[0].ListCloses(ctx); err != nil || l.Complete() || len(l.Closes) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestCloseSession(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, CloseTimeout: time.Minute})
		ctx := t.Context()
		first, second := dial(t, srv, "/ws?user=a"), dial(t, srv, "/ws?user=a")
		list := srv.Sessions(ctx, "a").Sessions
		i := slices.IndexFunc(list, func(s SessionInfo) bool { return s.RemoteAddr == first.LocalAddr().String() })
		for _, want := range []int{1, 0} {
			if d, err := srv.CloseSession(ctx, list[i].ID, 4000, "bye"); err != nil || d.Receivers != want {
				t.Errorf("%+v, %v, want %d", d, err, want)
			}
		}
		first.wantClose(4000)
		if _, err := srv.CloseSession(ctx, "n/x", 4000, ""); !errors.Is(err, ErrSessionID) {
			t.Errorf("a malformed ID: %v", err)
		}
		if d, err := srv.CloseSession(ctx, "elsewhere/1", 4000, ""); err != nil || d.Receivers != 0 {
			t.Errorf("another node's: %+v, %v", d, err)
		}
		srv.Push(ctx, "a", NewMessage(Text, []byte("x")))
		second.want(Text, "x")
	})
}

func awaitClose(t testing.TB, srv *Server, id string, closed int, state PacedState) (d ClosingDelivery) {
	t.Helper()
	await(t, fmt.Sprint(closed, " closed, ", state), func() bool {
		var err error
		if d, err = srv.FindClose(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return d.Receivers == closed && d.State == state
	})
	return d
}

// TestPacedClose: each session of the target is closed once, and a client that connects again is
// left alone.
func TestPacedClose(t *testing.T) {
	srv, clock := startStopped(t, Config{Endpoints: []Endpoint{PushEndpoint("/ws"), EchoEndpoint("/echo")}, CloseTimeout: time.Minute, PingInterval: time.Hour})
	ctx := t.Context()
	var all []*client
	for i := range 4 {
		all = append(all, dial(t, srv, fmt.Sprintf("/ws?user=u%d&topic=t%d&label=platform=p%d", i, i%2, i/2)))
	}
	stranger := dial(t, srv, "/echo")
	clock.pass(tick)
	order := CloseOrder{Topic: "t1", Where: expression(t, `platform == "p0"`), Over: MinPace, Code: 4001, Reason: "moved"}
	d, err := srv.StartClose(ctx, order)
	if err != nil || d.Of != 1 || d.State != PacedRunning || d.Topic != "t1" || d.Code != 4001 || !d.Until.Equal(d.Started.Add(MinPace)) {
		t.Fatalf("%+v, %v", d, err)
	}
	if l := srv.ListPaced(ctx); len(l.Broadcasts) != 0 {
		t.Errorf("a close is listed as a broadcast: %+v", l.Broadcasts)
	}
	if _, err := srv.CancelPaced(ctx, d.ID); !errors.Is(err, ErrNoPaced) {
		t.Errorf("a close is canceled as a broadcast: %v", err)
	}
	clock.pass(MinPace)
	all[1].wantClose(4001)
	awaitClose(t, srv, d.ID, 1, PacedDone)

	// A rate: one session per second.
	d, err = srv.StartClose(ctx, CloseOrder{All: true, Rate: 1, Code: 1012})
	if err != nil || d.Of != 4 || d.Until.Sub(d.Started) != 4*time.Second {
		t.Fatalf("%+v, %v", d, err)
	}
	clock.pass(tick)
	late := dial(t, srv, "/ws?user=late")
	clock.pass(2 * time.Second)
	awaitClose(t, srv, d.ID, 2, PacedRunning)
	clock.pass(10 * time.Second)
	awaitClose(t, srv, d.ID, 4, PacedDone)
	for _, c := range []*client{all[0], all[2], all[3], stranger} {
		c.wantClose(1012)
	}
	if l, err := srv.ListCloses(ctx); err != nil || len(l.Closes) != 2 || l.Closes[1].ID != d.ID {
		t.Errorf("%+v, %v", l, err)
	}

	// Cancel.
	clock.pass(tick)
	d, err = srv.StartClose(ctx, CloseOrder{Users: []string{"late"}, Over: MaxPace, Code: 1000})
	if err != nil || d.Of != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if d, err = srv.CancelClose(ctx, d.ID); err != nil || d.State != PacedCanceled || d.Receivers != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	srv.Push(ctx, "late", NewMessage(Text, []byte("x")))
	late.want(Text, "x")

	for name, test := range map[string]struct {
		o    CloseOrder
		want error
	}{
		"no target": {CloseOrder{Rate: 1, Code: 1000}, ErrAudience},
		"no pace":   {CloseOrder{All: true, Code: 1000}, ErrAudience},
		"no code":   {CloseOrder{All: true, Rate: 1}, ErrPage},
		"user":      {CloseOrder{Users: []string{"\n"}, Rate: 1, Code: 1000}, registry.ErrName},
		"no node":   {CloseOrder{Node: "elsewhere", Rate: 1, Code: 1000}, ErrNoNode},
	} {
		if _, err := srv.StartClose(ctx, test.o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	for _, id := range []string{"x", "0000000000000cafecafe"} {
		if _, err := srv.FindClose(ctx, id); !errors.Is(err, ErrNoClose) {
			t.Errorf("%s: %v", id, err)
		}
	}
	for range MaxPaced {
		if _, err = srv.StartClose(ctx, CloseOrder{Users: []string{"nobody"}, Over: MaxPace, Code: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = srv.StartClose(ctx, CloseOrder{Users: []string{"nobody"}, Over: MaxPace, Code: 1000}); !errors.Is(err, ErrManyPaced) {
		t.Errorf("one too many: %v", err)
	}
}

// TestServeRejectsInvalidQuestions: what another node asks is checked again.
func TestServeRejectsInvalidQuestions(t *testing.T) {
	srv := start(t, Config{})
	q := operate.Question{Kind: operate.Users, Limit: 1}
	for name, test := range map[string]struct {
		c    Command
		want string
	}{
		"fine":            {Command{Verb: VerbInquire, Op: Text, Payload: q.Encode()}, ""},
		"as a change":     {Command{Verb: VerbOperate, Op: Text, Payload: q.Encode()}, "does not carry"},
		"not JSON":        {Command{Verb: VerbInquire, Op: Text, Payload: []byte("x")}, "invalid"},
		"unknown members": {Command{Verb: VerbInquire, Op: Text, Payload: []byte(`{"kind":"users","limit":1,"by":"age"}`)}, "unknown"},
	} {
		if r := (member{srv}).Serve(&test.c); test.want == "" && (r.Error != "" || len(r.Data) != 1) || !strings.Contains(r.Error, test.want) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
