package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"fanfare/server"
)

// TestPresenceOfNodes: every node counts the sessions of all, and says which nodes it misses.
func TestPresenceOfNodes(t *testing.T) {
	all := startNodes(t, startNATS(t).ClientURL(), 2)
	clients := []*client{all[0].dial("user=alice&topic=news"), all[1].dial("user=alice&topic=news"), all[1].dial("user=bob&topic=news"), all[0].dial("user=carol&topic=news")}
	for _, c := range clients {
		if m := c.hear(); m.Type != "hello" {
			t.Fatalf("got %+v", m)
		}
	}
	known(t, all, server.Target{Topic: "news"})
	ctx := t.Context()
	users := func(want ...server.UserSessions) func(server.UserList, error) {
		return func(l server.UserList, err error) {
			t.Helper()
			if err != nil || !slices.Equal(l.Users, want) || !l.Complete() {
				t.Errorf("%+v, %v, want %v", l, err, want)
			}
		}
	}
	alice, bob, carol := server.UserSessions{User: "alice", Sessions: 2}, server.UserSessions{User: "bob", Sessions: 1}, server.UserSessions{User: "carol", Sessions: 1}
	for _, n := range all {
		await(t, "all sessions are counted", func() bool {
			d, err := n.Subscribers(ctx, "news")
			return err == nil && d.Receivers == 4
		})
		users(alice, bob)(n.Presence(ctx, []string{"nobody", "bob", "alice", "bob"}))
		users(alice, bob, carol)(n.TopicUsers(ctx, "news", "", 3))
		users(alice)(n.TopicUsers(ctx, "news", "", 1))
		users(bob)(n.TopicUsers(ctx, "news", "alice", 1))
		users(carol)(n.TopicUsers(ctx, "news", "bob", 1))
		users()(n.TopicUsers(ctx, "news", "carol", 1))
		for after, more := range map[string]bool{"": true, "alice": true, "bob": false, "carol": false} {
			if l, _ := n.TopicUsers(ctx, "news", after, 1); l.More != more {
				t.Errorf("after %q: more is %v", after, l.More)
			}
		}
		l := n.Nodes(ctx)
		if len(l.Nodes) != 2 || !l.Complete() || !slices.IsSortedFunc(l.Nodes, func(a, b server.NodeInfo) int { return compare(a.Name, b.Name) }) {
			t.Fatalf("%+v", l)
		}
		for _, info := range l.Nodes {
			if info.State != "serving" || info.Sessions != 2 || info.Since.IsZero() || time.Since(info.Since) > time.Hour {
				t.Errorf("%+v", info)
			}
		}
	}
	if _, err := all[0].Presence(ctx, make([]string, server.MaxPresence+1)); err == nil {
		t.Error("more users than allowed")
	}
	if _, err := all[0].Presence(ctx, []string{"a\n"}); err == nil {
		t.Error("a malformed name")
	}
	all[1].cluster.Leave()
	await(t, "the node is gone", func() bool { return all[0].cluster.Nodes() == 1 })
	users(server.UserSessions{User: "alice", Sessions: 1})(all[0].Presence(ctx, []string{"bob", "alice"}))
}

func compare(a, b string) int { return slices.Compare([]byte(a), []byte(b)) }

// TestPresenceOfManyUsers: the longest list of users reaches the other node and comes back.
func TestPresenceOfManyUsers(t *testing.T) {
	url := startNATS(t).ClientURL()
	var all []*node
	for range 2 {
		all = append(all, setup{store: url, cluster: url, timeout: patience}.start(t)) // the list takes its time on a busy machine
	}
	c := all[1].dial("user=alice")
	c.hear()
	users := make([]string, server.MaxPresence)
	for i := range users {
		users[i] = fmt.Sprintf("%0256d", i)
	}
	users[len(users)-1] = "alice"
	await(t, "alice is online", func() bool {
		l, err := all[0].Presence(t.Context(), users)
		return err == nil && l.Complete() && slices.Equal(l.Users, []server.UserSessions{{User: "alice", Sessions: 1}})
	})
}
