package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Sessions and users are excluded on all nodes, whatever the push is to.
func TestExclude(t *testing.T) {
	cluster := newFakeClusters(2)
	nodes := []*Server{start(t, Config{Cluster: cluster[0]}), start(t, Config{Cluster: cluster[1]})}
	alone := start(t, Config{})
	clients := make(map[string]*client) // by node and user
	ids := make(map[string]string)
	connect := func(name string, srv *Server) {
		for _, user := range []string{"a", "b", "c"} {
			clients[name+user] = dial(t, srv, "/ws?user="+user+"&topic=t&topic=of-"+user)
			ids[name+user] = only(t, srv, user).fullID()
		}
	}
	connect("0", nodes[0])
	connect("1", nodes[1])
	connect("2", alone)
	list := func(names ...string) []string { return names }
	for _, test := range []struct {
		name string
		to   Audience
		want []string // of the cluster
		solo []string // of the server alone
	}{
		{"broadcast, a user", Audience{Everyone: true, ExcludeUsers: list("a", "nobody")}, list("0b", "0c", "1b", "1c"), list("2b", "2c")},
		{"broadcast, a session", Audience{Everyone: true, ExcludeSessions: list(ids["1b"], ids["2b"])}, list("0a", "0b", "0c", "1a", "1c"), list("2a", "2c")},
		{"broadcast, both", Audience{Everyone: true, ExcludeUsers: list("a"), ExcludeSessions: list(ids["0b"], ids["2b"])}, list("0c", "1b", "1c"), list("2c")},
		{"publish", Audience{Topics: list("t"), ExcludeUsers: list("b", "c"), ExcludeSessions: list(ids["0a"])}, list("1a"), list("2a")},
		{"push", Audience{Users: list("a"), ExcludeSessions: list(ids["0a"], ids["2a"])}, list("1a"), nil},
		{"push to many", Audience{Users: list("a"), Topics: list("of-b", "of-a"), ExcludeSessions: list(ids["0a"], ids["1b"], ids["2b"])}, list("0b", "1a"), list("2a")},
		{"all are excluded", Audience{Users: list("a", "b"), ExcludeUsers: list("b", "a")}, nil, nil},
		{"none is excluded", Audience{Users: list("a")}, list("0a", "1a"), list("2a")},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := NewMessage(Text, []byte("x"))
			for srv, want := range map[*Server][]string{nodes[0]: test.want, alone: test.solo} {
				d, err := srv.Deliver(t.Context(), test.to, m)
				if err != nil || d.Receivers != len(want) || !d.Complete() {
					t.Errorf("got %+v, %v, want %d", d, err, len(want))
				}
			}
			broadcast(nodes[0], Text, []byte("end"))
			broadcast(alone, Text, []byte("end"))
			for name, c := range clients {
				want := []string(nil)
				if slices.Contains(test.want, name) || slices.Contains(test.solo, name) {
					want = list("x")
				}
				if got := c.got(); !slices.Equal(got, want) {
					t.Errorf("%s got %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestAudienceErrors(t *testing.T) {
	srv := start(t, Config{MaxPayload: 10})
	many := slices.Repeat([]string{"1"}, MaxExcluded+1)
	for _, test := range []struct {
		to   Audience
		says string
	}{
		{Audience{Everyone: true, Users: []string{"a"}}, "remove"},
		{Audience{Users: []string{""}}, "user: "},
		{Audience{Topics: []string{"\xff"}}, "topic: "},
		{Audience{Everyone: true, ExcludeUsers: []string{""}}, "excluded user: "},
		{Audience{Everyone: true, ExcludeUsers: many}, "101 names are excluded: want at most 100"},
		{Audience{Everyone: true, ExcludeSessions: many}, "101 names are excluded"},
		{Audience{Everyone: true, ExcludeSessions: []string{""}}, `session "": want an id`},
		{Audience{Everyone: true, ExcludeSessions: []string{"x"}}, `session "x": want an id`},
		{Audience{Everyone: true, ExcludeSessions: []string{"/7"}}, "want an id"},
		{Audience{Everyone: true, ExcludeSessions: []string{"node/07"}}, "want an id"},
		{Audience{Everyone: true, ExcludeSessions: []string{"node/-7"}}, "want an id"},
		{Audience{Everyone: true, ExcludeSessions: []string{strings.Repeat("n", 600) + "/7"}}, "want an id"},
	} {
		_, err := srv.Deliver(t.Context(), test.to, NewMessage(Text, nil))
		if !errors.Is(err, ErrAudience) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%.200v: %v", test.to, err)
		}
	}
	to := Audience{Everyone: true, ExcludeUsers: []string{"a"}}
	if _, err := srv.Deliver(t.Context(), to, NewMessage(Text, []byte("longer than 10"))); !errors.Is(err, ErrTooBig) {
		t.Errorf("a long message: %v", err)
	}
	if r := (member{srv}).Serve(&Command{Verb: VerbDeliver, Audience: Audience{Users: []string{""}}, Op: Text}); r.Error == "" {
		t.Error("an invalid audience of another node is served")
	}
}

// An exclusion costs no allocation for a receiver.
func TestExcludeAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	srv := start(t, Config{})
	const receivers = 300
	for i := range receivers {
		dial(t, srv, fmt.Sprint("/ws?user=u", i, "&topic=t"))
	}
	m := NewMessage(Text, []byte("x"))
	for name, to := range map[string]Audience{"broadcast": {Everyone: true}, "publish": {Topics: []string{"t"}}} {
		to.ExcludeUsers, to.ExcludeSessions = []string{"u1", "u2"}, []string{"1000000"}
		n := mallocs(func() {
			for range 20 {
				if d, err := srv.Deliver(t.Context(), to, m); err != nil || d.Receivers != receivers-2 {
					t.Fatalf("got %+v, %v", d, err)
				}
			}
		})
		if n > 20*40 {
			t.Errorf("%s: %d allocations for 20 messages", name, n)
		}
	}
}
