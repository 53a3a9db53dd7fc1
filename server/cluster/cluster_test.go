package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// TestCommands: each verb reaches the nodes that hold its target, with all its
// fields, and each of them replies.
func TestCommands(t *testing.T) {
	all := joinAll(t, startNATS(t).ClientURL(), 3)
	// alice and news are on nodes 0 and 1, nothing is on node 2.
	for _, m := range all[:2] {
		m.Hold(user("alice"))
		m.Hold(topic("news"))
	}
	await(t, "interest is known", func() bool {
		return len(all[2].peers.holding(targetOf(user("alice")), all[2].now())) == 2 &&
			len(all[2].peers.holding(targetOf(topic("news")), all[2].now())) == 2
	})
	for _, test := range []struct {
		name string
		to   server.Target
		cmd  server.Command
	}{
		{"push", user("alice"), server.Command{Verb: server.VerbPush, User: "alice", Op: server.Text, Payload: []byte("x")}},
		{"publish", topic("news"), server.Command{Verb: server.VerbPublish, Topic: "news", Op: server.Binary, Payload: []byte{0xff}, Except: "n1-7"}},
		{"broadcast", server.Target{}, server.Command{Verb: server.VerbBroadcast, Op: server.Text, Payload: []byte("x")}},
		{"several", server.Target{}, server.Command{Verb: server.VerbPushMany, Users: []string{"alice", "bob"}, Topics: []string{"news"}, Op: server.Text, Payload: []byte("x")}},
		{"stored", user("alice"), server.Command{Verb: server.VerbStored, User: "alice", Epoch: "e", Offset: 1 << 60, Prev: 7, Op: server.Text, Payload: []byte("x")}},
		{"stored, without the message", topic("news"), server.Command{Verb: server.VerbStored, Topic: "news", Epoch: "e", Offset: 8, Prev: 7}},
		{"close", user("alice"), server.Command{Verb: server.VerbClose, User: "alice", Code: 4000, Reason: "bye"}},
		{"sessions", user("alice"), server.Command{Verb: server.VerbSessions, User: "alice"}},
		{"subscribers", topic("news"), server.Command{Verb: server.VerbSubscribers, Topic: "news"}},
		{"subscribe", user("alice"), server.Command{Verb: server.VerbSubscribe, User: "alice", Topic: "sport"}},
		{"unsubscribe", user("alice"), server.Command{Verb: server.VerbUnsubscribe, User: "alice", Topic: "sport"}},
		{"revoke", server.Target{}, server.Command{Verb: server.VerbRevoke, Op: server.Text, Payload: []byte(`{}`)}},
		{"refresh", user("alice"), server.Command{Verb: server.VerbRefresh, User: "alice", Op: server.Text, Payload: []byte(`{"expires":0}`)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := all[2].Ask(t.Context(), test.to, &test.cmd)
			if err != nil || a.Missing != 0 || len(a.Replies) != 2 || a.Replies[0].Count+a.Replies[1].Count != 2 {
				t.Fatalf("got %+v, %v", a, err)
			}
			for _, m := range all[:2] {
				got := m.node.commands()
				if fmt.Sprint(got[len(got)-1]) != fmt.Sprint(test.cmd) {
					t.Errorf("served %+v, want %+v", got[len(got)-1], test.cmd)
				}
			}
		})
	}
	if got := all[2].node.commands(); len(got) != 0 {
		t.Errorf("the node that asked served %+v", got)
	}
}

// TestReplies: replies hold what the nodes said, with the names of the nodes, and an
// error of a node is logged.
func TestReplies(t *testing.T) {
	ns := startNATS(t)
	want := []server.Reply{
		{Error: "store: full"},
		{Count: 2, Sessions: []server.SessionInfo{
			{ID: "a-1", Node: "a", User: "älice", RemoteAddr: "[::1]:1", Opened: time.Unix(1, 2), Topics: []string{"x", "y"}, QueuedBytes: 3, Protocol: "fanfare.v1"},
			{ID: "a-2"},
		}},
	}
	asker := join(t, ns.ClientURL())
	all := []*member{asker}
	for i := range want {
		says := want[i]
		m := joinNode(t, &fakeNode{serve: func(*server.Command) server.Reply { return says }}, ns.ClientURL())
		m.Hold(user("älice"))
		want[i].Node = m.Name()
		all = append(all, m)
	}
	together(t, all)
	await(t, "interest is known", func() bool { return len(asker.peers.holding(targetOf(user("älice")), asker.now())) == 2 })
	a, err := asker.Ask(t.Context(), user("älice"), &server.Command{Verb: server.VerbSessions, User: "älice"})
	if err != nil || a.Missing != 0 || len(a.Replies) != 2 {
		t.Fatalf("got %+v, %v", a, err)
	}
	slices.SortFunc(a.Replies, func(a, b server.Reply) int { return a.Count - b.Count })
	if fmt.Sprint(a.Replies) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", a.Replies, want)
	}
	if line := `msg="command failed on another node" node=` + want[0].Node + ` verb=7 err="store: full"`; asker.log.Count(line) != 1 {
		t.Errorf("logged %s, want %s", asker.log.String(), line)
	}
}

// TestRelease: the target is shared until it was released as often as it was
// held.
func TestRelease(t *testing.T) {
	all := joinAll(t, startNATS(t).ClientURL(), 2)
	holder, other := all[0], all[1]
	to := user("alice")
	holder.Hold(to)
	holder.Hold(to)
	known(t, to, other)
	holder.Release(to)
	holder.Hold(topic("a later change"))
	known(t, topic("a later change"), other)
	if !other.Shared(to) {
		t.Error("not shared after the first of two releases")
	}
	holder.Release(to)
	await(t, "release is known", func() bool { return !other.Shared(to) })
	a, err := other.Ask(t.Context(), to, push("alice", "x"))
	if err != nil || len(a.Replies) != 0 || a.Missing != 0 {
		t.Errorf("got %+v, %v", a, err)
	}
	if holder.Shared(to) || holder.Shared(topic("a later change")) {
		t.Error("a node shares with itself")
	}
}

// TestLeave: a node that leaves is gone at once, and the methods of a node that
// has left say so.
func TestLeave(t *testing.T) {
	all := joinAll(t, startNATS(t).ClientURL(), 3)
	all[2].Hold(user("alice"))
	known(t, user("alice"), all[0], all[1])
	all[2].Leave()
	for _, m := range all[:2] {
		await(t, "the node is gone", func() bool { return m.Nodes() == 2 && !m.Shared(user("alice")) })
		if m.log.Count("node left") != 1 {
			t.Errorf("logged %s", m.log.String())
		}
	}
	if err := all[2].Ready(); !errors.Is(err, server.ErrUnreachable) {
		t.Errorf("Ready: %v", err)
	}
	if _, err := all[2].Ask(t.Context(), user("bob"), push("bob", "x")); !errors.Is(err, server.ErrUnreachable) {
		t.Errorf("Ask: %v", err)
	}
	if err := all[2].Sync(t.Context(), user("alice")); !errors.Is(err, server.ErrUnreachable) {
		t.Errorf("Sync: %v", err)
	}
	all[2].Leave() // does nothing
}

// TestOrder: commands of one node to one user arrive in order.
func TestOrder(t *testing.T) {
	all := joinAll(t, startNATS(t).ClientURL(), 2)
	all[0].Hold(user("alice"))
	known(t, user("alice"), all[1])
	const count = 2000
	for i := range count {
		text := fmt.Sprint(i)
		if i%500 == 0 {
			text += strings.Repeat(" ", 3<<20) // in fragments
		}
		// Only the last one waits for its reply.
		to := user("alice")
		body := appendCommand(appendNumbers(appendHeader(nil, kindCommand, all[1].id), 0), push("alice", text))
		if err := all[1].dispatch(outgoing{subject: targetOf(to).subject(), body: body}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all are served", func() bool {
		if d := all[0].Stats().Dropped; d != (Dropped{}) {
			t.Fatalf("dropped: %+v", d)
		}
		return len(all[0].node.commands()) == count
	})
	for i, c := range all[0].node.commands() {
		if got := strings.TrimRight(string(c.Payload), " "); got != fmt.Sprint(i) {
			t.Fatalf("command %d is %s", i, got)
		}
	}
}

// TestNames: a node without a name gets a readable one, and a name that two live
// nodes have is noticed by both, while all commands arrive.
func TestNames(t *testing.T) {
	ns := startNATS(t)
	a, b := join(t, ns.ClientURL()), join(t, ns.ClientURL())
	if !validName(a.Name()) || !strings.Contains(a.Name(), "-") || a.Name() == b.Name() {
		t.Errorf("default names %q and %q", a.Name(), b.Name())
	}
	named := func(cfg *Config) { cfg.Name = "one" }
	c, d := join(t, ns.ClientURL(), named), join(t, ns.ClientURL(), named)
	together(t, []*member{a, b, c, d})
	for _, m := range []*member{c, d} {
		await(t, "the duplicate is noticed", func() bool { return m.Stats().DuplicateNames == 1 })
		await(t, "it is logged", func() bool { return m.log.Count("another node has the name of this one") == 1 })
	}
	c.Hold(user("alice"))
	known(t, user("alice"), d)
	if got, err := d.Ask(t.Context(), user("alice"), push("alice", "x")); err != nil || len(got.Replies) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if a.Stats().DuplicateNames != 0 {
		t.Error("a node with another name counts a duplicate")
	}
}

// TestClocks: a node whose clock is ahead is logged and counted, and works all the same.
func TestClocks(t *testing.T) {
	ns := startNATS(t)
	m := joinAll(t, ns.ClientURL(), 2)[0] // it hears the other's beats, so it has subscribed
	b := beat{sequence: 1, generation: 1, name: "fast:8081", clock: uint64(time.Now().Add(time.Hour).UnixMilli())}
	if err := outsider(t, ns.ClientURL()).Publish(controlSubject, b.append(appendHeader(nil, kindBeat, nodeID{7}))); err != nil {
		t.Fatal(err)
	}
	await(t, "the clock is noticed", func() bool { return m.Stats().ClocksAhead == 1 })
	await(t, "it is logged", func() bool {
		return m.log.Count(`msg="the clock of another node is ahead of this one's; synchronize both" node=fast:8081 ahead=`) == 1
	})
	if m.Shared(user("nothing held")) || m.Stats().Dropped.Malformed != 0 {
		t.Errorf("the beat was not understood: %+v", m.Stats().Dropped)
	}
}

// TestConfig: what is wrong is named by its field.
func TestConfig(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "URL"},
		{Config{URL: "http://x"}, "scheme"},
		{Config{URL: "nats://x", Name: "a b"}, `Name is "a b"`},
		{Config{URL: "nats://x", Name: strings.Repeat("x", 65)}, "Name is"},
		{Config{URL: "nats://x", Timeout: time.Hour}, "Timeout is 1h0m0s"},
		{Config{URL: "nats://x", Cert: "c"}, "Cert and Key"},
	} {
		if _, err := New(t.Context(), test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v", test.cfg, err)
		}
	}
}
