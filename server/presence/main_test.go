package presence

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/internal/leak"
	"fanfare/server"
	"fanfare/server/internal/natstest"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	leak.Main(m, 10*time.Second, "testing.(*M).startAlarm", "nats-server/v2/server/ats.", "nats-server/v2/server/pse.")
}

// until waits for a condition; nothing is judged by how long it takes.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// world is a NATS, the nodes that use it, and what they reported, in order and once for each
// identifier.
type world struct {
	t    testing.TB
	nats *natstest.Server

	mu       sync.Mutex
	seen     map[string]bool // identifiers
	reported []string
	failing  bool
	members  []string // what was announced to members
}

// announcer is the Members of a node.
type announcer struct{ w *world }

func (a announcer) note(kind string, changes []server.MemberChange) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	var all []string
	for _, c := range changes {
		all = append(all, map[bool]string{true: "+", false: "-"}[c.Present]+c.User+"@"+c.Topic)
	}
	slices.Sort(all)
	if kind != "" {
		all = []string{strings.TrimSpace(kind + " " + strings.Join(all, " "))}
	}
	a.w.members = append(a.w.members, all...)
}

func (a announcer) LeadMembers(present []server.MemberChange)   { a.note("lead", present) }
func (a announcer) ChangeMembers(changes []server.MemberChange) { a.note("", changes) }
func (a announcer) ResignMembers()                              {}

func (w *world) wantsMembers(want ...string) {
	w.t.Helper()
	if got := w.announced(len(want)); !slices.Equal(got, want) {
		w.t.Fatalf("members: %q, want %q", got, want)
	}
}

// wantsMembersInAnyOrder is for changes that a node makes before it is heard: those are of
// different names, whose order is not kept.
func (w *world) wantsMembersInAnyOrder(want ...string) {
	w.t.Helper()
	if got := w.announced(len(want)); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		w.t.Fatalf("members: %q, want %q", got, want)
	}
}

// announced waits until the leaders have announced n changes, and returns all.
func (w *world) announced(n int) []string {
	w.t.Helper()
	got := func() []string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Clone(w.members)
	}
	until(w.t, strconv.Itoa(n)+" changes", func() bool { return len(got()) >= n })
	return got()
}

func newWorld(t testing.TB) *world {
	return &world{t: t, seen: make(map[string]bool), nats: natstest.Start(t, natsserver.Options{JetStream: true})}
}

// reporter is the Reporter of a node.
type reporter struct{ w *world }

func (r reporter) Lead(context.Context) error { return nil }
func (r reporter) Resign()                    {}

func (r reporter) Report(_ context.Context, events []server.Event, ids []string) error {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, e := range events {
		if !w.seen[ids[i]] {
			w.seen[ids[i]] = true
			w.reported = append(w.reported, e.Kind.String()+" "+e.User+e.Topic)
		}
	}
	if w.failing { // after it was stored: it is reported again
		w.failing = false
		return errors.New("the queue cannot be reached")
	}
	return nil
}

func (w *world) reports() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.reported)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// node starts a node, whose time passes faster than the clock.
func (w *world) node(name string, grace time.Duration) *Service {
	w.t.Helper()
	s, err := Open(Config{URL: w.nats.ClientURL(), Name: name, Grace: grace, Reporter: reporter{w}, Logger: quiet, speed: 10})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// kill ends a node that tells nobody.
func kill(s *Service) {
	s.nc.Close()
	s.Close()
}

func (w *world) wants(want ...string) {
	w.t.Helper()
	until(w.t, strings.Join(want, ", "), func() bool { return len(w.reports()) >= len(want) })
	if got := w.reports(); !slices.Equal(got, want) {
		w.t.Fatalf("reported %q, want %q", got, want)
	}
}

func leader(nodes ...*Service) *Service {
	for _, n := range nodes {
		if n.Leads() {
			return n
		}
	}
	return nil
}

func online(user string) server.Event  { return server.Event{Kind: server.UserOnline, User: user} }
func offline(user string) server.Event { return server.Event{Kind: server.UserOffline, User: user} }
