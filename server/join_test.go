package server

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// unjoinable is a Cluster that does not let the server join.
type unjoinable struct{ Cluster }

var errJoin = errors.New("no")

func (unjoinable) Join(Node) error { return errJoin }

// TestJoinFails: a server that cannot join its cluster leaves no goroutine, with a store
// and without.
func TestJoinFails(t *testing.T) {
	for name, cfg := range map[string]Config{"alone": {}, "with a store": withInbox(t)} {
		t.Run(name, func(t *testing.T) {
			cfg.Cluster = unjoinable{}
			if srv, err := New(cfg); srv != nil || !errors.Is(err, errJoin) {
				t.Fatalf("got %v, %v", srv, err)
			}
			buf := make([]byte, 1<<20)
			if stacks := string(buf[:runtime.Stack(buf, true)]); strings.Contains(stacks, "replay.(*Service)") {
				t.Errorf("a goroutine of replay is left:\n%s", stacks)
			}
		})
	}
}

// syncing is a Cluster that records what Sync was called for.
type syncing struct {
	*fakeCluster
	targets chan Target
}

func (s syncing) Sync(_ context.Context, t Target) error {
	select {
	case s.targets <- t:
	default:
	}
	return nil
}

// TestReplaySyncsCluster: before a session's stored messages are looked up, the other
// nodes know that it is here. Otherwise a message stored elsewhere at that moment would
// be announced to no session.
func TestReplaySyncsCluster(t *testing.T) {
	cfg := withTopics(t)
	cluster := syncing{newFakeClusters(1)[0], make(chan Target, 8)}
	cfg.Cluster = cluster
	srv := start(t, cfg)
	dial(t, srv, "/ws?user=alice&topic=news.a")
	got := map[Target]bool{}
	for range 2 {
		got[receive(t, "a call of Sync", cluster.targets)] = true
	}
	if !got[Target{User: "alice"}] || !got[Target{Topic: "news.a"}] {
		t.Errorf("Sync was called for %v", got)
	}
}
