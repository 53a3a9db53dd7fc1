package webhook

import (
	"net/http"
	"slices"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/internal/natstest"
)

// TestLead: events of the cluster that one node has queued are posted by the next one that
// leads, in order, with their identifiers and before later ones.
func TestLead(t *testing.T) {
	ns := natstest.Start(t, natsserver.Options{JetStream: true})
	cfg := Config{URL: ns.ClientURL(), Hooks: []Hook{{URL: "https://app.example.com/", Events: []string{"user.*"}}}}
	ofUser := func(k server.EventKind, user string) server.Event {
		return server.Event{Kind: k, Time: time.Now(), User: user}
	}
	fails := &receiver{answer: func(int, *http.Request) *http.Response { return nil }}
	a := start(t, fails, cfg)
	if err := a.Report(t.Context(), []server.Event{ofUser(server.UserOnline, "alice")}, []string{"x-1"}); err == nil {
		t.Error("Report without Lead succeeds")
	}
	if err := a.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Report(t.Context(), []server.Event{ofUser(server.UserOnline, "alice"), ofUser(server.TopicOccupied, "")}, []string{"x-1", "x-2"}); err != nil {
		t.Fatal(err)
	}
	until(t, "attempt", func() bool { return len(fails.all()) > 0 })
	a.Resign()

	works := new(receiver)
	cfg.Node = "n2"
	b := start(t, works, cfg)
	if err := b.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Report(t.Context(), []server.Event{ofUser(server.UserOffline, "alice")}, []string{"x-3"}); err != nil {
		t.Fatal(err)
	}
	until(t, "delivery", func() bool { return len(works.events(0)) >= 2 })
	if got := works.events(0); !slices.Equal(got, []string{"user.online alice", "user.offline alice"}) {
		t.Errorf("%v", got)
	}
	stop(b)
	stop(a)
}
