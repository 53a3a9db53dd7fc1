package server

import (
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
