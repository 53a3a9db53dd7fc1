package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/internal/natstest"
	"fanfare/server/store"
)

// inboxes is a store that knows what users have acknowledged.
type inboxes struct {
	store.Store // nil: other methods are not called

	mu      sync.Mutex
	acked   map[string]uint64
	deleted map[string]bool
	err     error
}

func (in *inboxes) Continues(_ context.Context, _ store.Box, epoch string, _ uint64) (bool, error) {
	return epoch == "e", nil
}

func (in *inboxes) Acked(_ context.Context, b store.Box, user string) (uint64, bool, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	offset, known := in.acked[user]
	return offset, known, in.err
}

func (in *inboxes) Get(_ context.Context, b store.Box, offset uint64) (*store.Message, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.deleted[b.User] {
		return nil, nil
	}
	return &store.Message{Offset: offset}, nil
}

func (in *inboxes) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.err = err
}

// list is records in memory.
type list struct {
	mu   sync.Mutex
	last uint64
	all  []entry
}

func (l *list) put(_ context.Context, _ string, data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.all = append(l.all, entry{l.last, data})
	return nil
}

func (l *list) from(_ context.Context, sequence uint64) ([]entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, _ := slices.BinarySearchFunc(l.all, sequence, func(e entry, s uint64) int { return cmp.Compare(e.sequence, s) })
	return slices.Clone(l.all[at:min(len(l.all), at+2)]), nil
}

func (l *list) get(_ context.Context, sequence uint64) ([]byte, error) {
	all, _ := l.from(context.Background(), sequence)
	if len(all) == 0 || all[0].sequence != sequence {
		return nil, errEmpty
	}
	return all[0].data, nil
}

func (l *list) remove(_ context.Context, sequence uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.DeleteFunc(l.all, func(e entry) bool { return e.sequence == sequence })
	return nil
}

func (l *list) state(context.Context) (last uint64, count int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, int64(len(l.all)), nil
}

// unread are the message.unread events that r got: user, message, offset, and whether it is
// deleted.
func (r *receiver) unread() (all []string) {
	for _, req := range r.all() {
		for _, e := range req.Data.Events {
			all = append(all, strings.TrimSpace(fmt.Sprint(e["type"], " ", e["user"], " ", e["message"], " ", e["epoch"], " ", e["offset"])+
				map[bool]string{true: " deleted"}[e["deleted"] == true]))
		}
	}
	slices.Sort(all)
	return all
}

// ids are the identifiers of all events that r got.
func (r *receiver) ids() (all []any) {
	for _, req := range r.all() {
		for _, e := range req.Data.Events {
			all = append(all, e["id"])
		}
	}
	return all
}

// TestEscalations: a message is reported when it is due and neither earlier nor twice, unless
// it is acknowledged; while the store is away, nothing is decided.
func TestEscalations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		s := start(t, r, Config{})
		st := &inboxes{acked: map[string]uint64{"before": 6, "after": 8, "exact": 7, "other": 100}, deleted: map[string]bool{"gone": true}}
		l := new(list)
		s.escalations = &escalations{service: s, records: l, store: st, poll: time.Minute, kick: make(chan struct{}, 1)}
		begun := time.Now()
		escalate := func(user, epoch string, after time.Duration) {
			t.Helper()
			if err := s.Escalate(t.Context(), server.Escalation{User: user, ID: "m-" + user, Epoch: epoch, Offset: 7, Due: begun.Add(after)}); err != nil {
				t.Fatal(err)
			}
		}
		escalate("late", "e", 10*time.Second)
		escalate("before", "e", 2*time.Second)
		escalate("after", "e", time.Second)
		escalate("exact", "e", time.Second)
		escalate("other", "another", time.Second)
		escalate("gone", "e", time.Second)
		escalate("never", "e", 3*time.Second)
		l.put(t.Context(), "", []byte("malformed"))
		step := func(at time.Duration, want time.Duration) {
			t.Helper()
			if wait, err := s.escalations.step(t.Context(), begun.Add(at)); err != nil || wait != want {
				t.Errorf("after %v: wait %v, want %v: %v", at, wait, want, err)
			}
			time.Sleep(time.Second)
		}
		step(999*time.Millisecond, time.Millisecond)
		if got := r.unread(); len(got) > 0 {
			t.Errorf("before any is due: %v", got)
		}
		step(time.Second, time.Second)
		want := []string{"message.unread gone m-gone e 7 deleted", "message.unread other m-other another 7 deleted"}
		if got := r.unread(); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		st.fail(store.ErrUnavailable)
		if _, err := s.escalations.step(t.Context(), begun.Add(3*time.Second)); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("without a store: %v", err)
		}
		st.fail(store.ErrDamaged) // says nothing about an acknowledgement
		step(3*time.Second, 7*time.Second)
		want = append(want, "message.unread before m-before e 7", "message.unread never m-never e 7")
		slices.Sort(want)
		if got := r.unread(); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		// The leader of a cluster has missed that another node has decided the last one.
		l.all = nil
		step(time.Minute, time.Minute)
		if m := metricsOf(s); m["escalated_total"] != 4 || m["escalations_cancelled_total"] != 2 || m["escalations_pending"] != 0 {
			t.Errorf("%v", m)
		}
		// The stream is another one, whose sequences begin anew.
		l.last = 0
		escalate("again", "e", 0)
		step(2*time.Minute, time.Minute)
		if got := r.unread(); len(got) != 5 || got[0] != "message.unread again m-again e 7" {
			t.Errorf("%v", got)
		}
		stop(s)
	})
}

// TestCheckEscalation: messages can be escalated if a webhook receives the event, and as long as
// they are stored.
func TestCheckEscalation(t *testing.T) {
	for _, test := range []struct {
		name   string
		store  store.Store
		events []string
		gone   bool // the webhook has answered 410
		after  time.Duration
		want   error
		text   string
	}{
		{"escalated", new(inboxes), nil, false, time.Hour, nil, ""},
		{"without a store", nil, nil, false, time.Hour, server.ErrNoEscalator, "messages are not stored"},
		{"no webhook is told", new(inboxes), []string{"user.*"}, false, time.Hour, server.ErrNoEscalator, "no webhook receives message.unread"},
		{"gone", new(inboxes), nil, true, time.Hour, server.ErrNoEscalator, "the webhook a.example.com, which receives message.unread, has answered 410 Gone"},
		{"another is gone", new(inboxes), []string{"user.*"}, true, time.Hour, server.ErrNoEscalator, "no webhook receives message.unread"},
		{"longer than stored", new(inboxes), nil, false, 25 * time.Hour, server.ErrEscalation, "messages are stored for"},
	} {
		s := newService(Config{Store: test.store, MessageAge: 24 * time.Hour}, time.Now, randomInt64, new(counters))
		s.escalations = s.escalationsOf(nil, localPoll)
		kinds, err := Hook{Events: test.events}.Kinds()
		if err != nil {
			t.Fatal(err)
		}
		h, d := &hook{name: "a.example.com"}, new(deliverer)
		for _, k := range kinds {
			h.kinds |= 1 << k
		}
		d.hook.Store(h)
		d.gone.Store(test.gone)
		s.workers.Store(&[]*deliverer{d})
		if err := s.CheckEscalation(test.after); !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, want %v, %s", test.name, err, test.want, test.text)
		}
	}
	if err := (Config{Secrets: secretsOf(t, secretText), Node: "n", Store: new(inboxes)}).Validate(); err == nil || !strings.Contains(err.Error(), "Store needs Dir or URL") {
		t.Errorf("a store without a queue: %v", err)
	}
}

// TestEscalateUntaken: messages that no webhook is told of any more, because a reload has changed
// what it wants or it has answered 410, are logged and counted, and are not counted as reported.
func TestEscalateUntaken(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &receiver{answer: func(int, *http.Request) *http.Response { return answer(map[bool]int{true: 410, false: 200}[gone]) }}
			log := new(lockedBuffer)
			cfg := Config{Hooks: []Hook{{URL: "https://a.example.com/"}}, Logger: loggerTo(log)}
			s := start(t, r, cfg)
			begun := time.Now()
			s.escalations = &escalations{service: s, records: new(list), store: new(inboxes), poll: time.Minute, kick: make(chan struct{}, 1)}
			for range 3 {
				if err := s.Escalate(t.Context(), server.Escalation{User: "u", Epoch: "e", Offset: 7, Due: begun.Add(time.Second)}); err != nil {
					t.Fatal(err)
				}
			}
			if gone {
				s.Observe(opened("u"))
			} else {
				cfg.Secrets, cfg.Hooks[0].Events = secretsOf(t, secretText), []string{"session.*"}
				if err := s.Reconfigure(cfg); err != nil {
					t.Fatal(err)
				}
				if want := `msg="escalations wait that will not be reported" escalations=3 err="no webhook receives message.unread"`; !strings.Contains(log.String(), want) {
					t.Errorf("logged %s, want %s", log.String(), want)
				}
			}
			time.Sleep(time.Second)
			if _, err := s.escalations.step(t.Context(), begun.Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			want := `msg="unread messages are not escalated" messages=3 err="no webhook receives message.unread"`
			if gone {
				want = `msg="unread messages are not escalated" messages=3 err="the webhook a.example.com-2d18863be8a2, which receives message.unread, has answered 410 Gone`
			}
			if m := metricsOf(s); m["escalations_untaken_total"] != 3 || m["escalated_total"] != 0 || m["escalations_pending"] != 0 || !strings.Contains(log.String(), want) {
				t.Errorf("%v, logged %s, want %s", m, log.String(), want)
			}
			stop(s)
		})
	}
}

// clock is a time that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// TestEscalateRestart: escalations survive a restart, and are bounded; a repeated one is
// reported once.
func TestEscalateRestart(t *testing.T) {
	st := &inboxes{acked: map[string]uint64{"bob": 9}}
	cfg := Config{Dir: t.TempDir(), Store: st, MaxEscalations: 4 << 10}
	s := start(t, new(receiver), cfg)
	for _, user := range []string{"alice", "bob", "alice"} {
		if err := s.Escalate(t.Context(), server.Escalation{User: user, ID: "m", Epoch: "e", Offset: 9, Due: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := metricsOf(s)["escalations_pending"]; n != 2 {
		t.Errorf("%v are pending, want 2", n)
	}
	var full error
	for i := uint64(10); full == nil && i < 1000; i++ {
		full = s.Escalate(t.Context(), server.Escalation{User: "carol", Epoch: "e", Offset: i, Due: time.Now().Add(240 * time.Hour)})
	}
	if !errors.Is(full, store.ErrFull) {
		t.Errorf("without room: %v", full)
	}
	stop(s)

	later := new(clock)
	later.ahead.Store(int64(2 * time.Hour))
	r := new(receiver)
	s = startAt(t, r, cfg, later.now)
	until(t, "both decisions", func() bool {
		m := metricsOf(s)
		return m["escalated_total"] == 1 && m["escalations_cancelled_total"] == 1 && len(r.ids()) == 1
	})
	if got := r.unread(); !slices.Equal(got, []string{"message.unread alice m e 9"}) {
		t.Errorf("%v", got)
	}
	// An escalation of the running service is noticed at once.
	if err := s.Escalate(t.Context(), server.Escalation{User: "dave", Epoch: "e", Offset: 1, Due: later.now().Add(-time.Second)}); err != nil {
		t.Fatal(err)
	}
	until(t, "the event", func() bool { return len(r.ids()) == 2 })
	stop(s)
}

// TestEscalateCluster: an escalation of one node is reported by the node that leads, and if
// that is cut off by the next one, from the queue of the cluster.
func TestEscalateCluster(t *testing.T) {
	ns := natstest.Start(t, natsserver.Options{JetStream: true})
	now := new(clock)
	cfg := Config{URL: ns.ClientURL(), Store: &inboxes{acked: map[string]uint64{"bob": 3}}, Hooks: []Hook{{URL: "https://app.example.com/", Events: []string{"message.unread"}}}}
	hangs := &receiver{answer: func(int, *http.Request) *http.Response { return nil }}
	a := startAt(t, hangs, cfg, now.now)
	works := new(receiver)
	b := startAt(t, works, cfg, now.now)
	if err := a.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		due := now.now().Add(time.Hour)
		if user == "carol" {
			due = now.now()
		}
		if err := b.Escalate(t.Context(), server.Escalation{User: user, ID: "m", Epoch: "e", Offset: 3, Due: due}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the first event in the queue", func() bool { return a.stats.escalated.Load() == 1 && len(hangs.all()) > 0 })
	a.leading.service().queue.(*jetStreamQueue).nc.Close() // like a node that is killed
	now.ahead.Store(int64(2 * time.Hour))
	if err := b.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the events", func() bool { return len(works.ids()) == 2 && b.stats.cancelled.Load() == 1 })
	want := []string{"message.unread alice m e 3", "message.unread carol m e 3"}
	if got := works.unread(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := metricsOf(b)["escalations_pending"]; n != 0 {
		t.Errorf("%v are left", n)
	}
	stop(b)
	stop(a)
}

// lockedBuffer is what was logged.
type lockedBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}
