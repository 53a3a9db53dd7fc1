package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// TestQueue runs the same operations on each kind of queue.
func TestQueue(t *testing.T) {
	for name, make := range map[string]func(t *testing.T) queue{
		"memory": func(*testing.T) queue { return newMemoryQueue(1 << 20) },
		"JetStream": func(t *testing.T) queue {
			q, err := openEmbedded(t.Context(), &Config{Dir: t.TempDir(), MaxBytes: 1 << 20, Replicas: 1})
			if err != nil {
				t.Fatal(err)
			}
			return q
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, ctx := make(t), t.Context()
			defer q.close()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := q.next(ctx, "h1", 0); !errors.Is(err, errEmpty) {
				t.Fatal("the queue is new: ", err)
			}
			now := time.UnixMilli(time.Now().UnixMilli())
			for i := range 4 {
				must(q.add(ctx, []string{"h1", "h2"}[i%2], &batch{count: int64(i + 1), dropped: int64(i), oldest: now, events: []byte(fmt.Sprint(i))}))
			}
			at, b, err := q.next(ctx, "h1", 0)
			if err != nil || b.count != 1 || b.dropped != 0 || !b.oldest.Equal(now) || string(b.events) != "0" {
				t.Fatalf("%+v %v", b, err)
			}
			second, b, err := q.next(ctx, "h1", at)
			if err != nil || b.count != 3 || b.dropped != 2 || string(b.events) != "2" {
				t.Fatalf("%+v %v", b, err)
			}
			if _, _, err := q.next(ctx, "h1", second); !errors.Is(err, errEmpty) {
				t.Error(err)
			}
			if all, err := q.hooks(ctx); err != nil || len(all) != 2 || !slices.Contains(all, "h1") || !slices.Contains(all, "h2") {
				t.Errorf("%v %v", all, err)
			}
			must(q.remove(ctx, "h1", at))
			if got, _, err := q.next(ctx, "h1", 0); got != second || err != nil {
				t.Errorf("at %d, want %d: %v", got, second, err)
			}
			must(q.remove(ctx, "h1", second))
			if u, err := q.usage(ctx); err != nil || u.batches != 2 || u.bytes == 0 || u.dead != 0 {
				t.Errorf("%+v %v", u, err)
			}
			big := &batch{count: 1, oldest: now, events: []byte(strings.Repeat("x", 100_000))}
			added := 0
			for err = q.add(ctx, "h1", big); err == nil; err = q.add(ctx, "h1", big) {
				added++
			}
			if !errors.Is(err, errFull) || added < 8 || added > 11 {
				t.Fatalf("%d batches of 100 kB fit into 1 MiB: %v", added, err)
			}
			must(q.remove(ctx, "h1", 1<<40))
			must(q.add(ctx, "h1", big))

			l := newLetter(&hook{id: "h1", name: "n"}, &batch{count: 2, dropped: 3, oldest: now, events: []byte(`{"id":"x"},{}`)}, "why", 5, now)
			must(q.bury(ctx, l))
			must(q.bury(ctx, l))
			first, err := q.letter(ctx, 0)
			if err != nil || first.Hook != "h1" || first.Webhook != "n" || first.Reason != "why" || first.Attempts != 5 || string(first.Events) != `[{"id":"x"},{}]` {
				t.Fatalf("%+v %v", first, err)
			}
			if b := first.batch(); b.count != 2 || b.dropped != 3 || !b.oldest.Equal(now) || string(b.events) != `{"id":"x"},{}` {
				t.Errorf("%+v", b)
			}
			must(q.exhume(ctx, first.At))
			must(q.exhume(ctx, first.At))
			if next, err := q.letter(ctx, 0); err != nil || next.At <= first.At {
				t.Errorf("%+v %v", next, err)
			}
			l.Events = jsontext.Value(`["` + strings.Repeat("x", 100_000) + `"]`)
			for range 20 { // the oldest ones make room
				must(q.bury(ctx, l))
			}
			if u, err := q.usage(ctx); err != nil || u.dead < 8 || u.dead > 11 {
				t.Errorf("%+v %v", u, err)
			}
		})
	}
}

// TestRestart: what was not posted when a process ended is posted by the next one, in order,
// and what was queued for a webhook that it does not have becomes a dead letter.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	hangs := &receiver{answer: func(int, *http.Request) *http.Response { return nil }}
	hooks := []Hook{{URL: "https://app.example.com/hook"}, {URL: "https://removed.example.com/"}}
	s := start(t, hangs, Config{Dir: dir, Hooks: hooks})
	var want []string
	for i := range 300 {
		s.Observe(opened(fmt.Sprint("u", i)))
		want = append(want, fmt.Sprint("session.opened u", i))
	}
	until(t, "storing", func() bool { return metricsOf(s)["events_total"] == 300 })
	stop(s)

	r := new(receiver)
	s = start(t, r, Config{Dir: dir, Hooks: hooks[:1]})
	until(t, "delivery", func() bool { return len(r.events(0)) >= len(want) })
	if got := r.events(0); !slices.Equal(got, want) {
		t.Errorf("%d events, want %d: %.300v", len(got), len(want), got)
	}
	until(t, "dead letters", func() bool { m := metricsOf(s); return m["queue_batches"] == 0 && m["dead_total"] == 300 })
}

// TestHeal: an embedded server that has stopped is started again, and nothing is lost.
func TestHeal(t *testing.T) {
	r := new(receiver)
	s := start(t, r, Config{Dir: t.TempDir()})
	s.Observe(opened("a"))
	until(t, "delivery", func() bool { return len(r.events(0)) == 1 })
	if err := s.queue.(*jetStreamQueue).local.ns.DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	s.Observe(opened("b"))
	until(t, "delivery after the failure", func() bool { return len(r.events(0)) == 2 })
}

func TestMalformedBatch(t *testing.T) {
	for _, in := range []string{"", "\x01", "\x01\x01\x01", "\x02\x01\x01\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if b, err := decodeBatch([]byte(in)); err == nil {
			t.Errorf("%q: %+v", in, b)
		}
	}
}

// TestStartFails: a server that cannot start says so at once, and not after startTimeout, for which
// the lock is held.
func TestStartFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := &embedded{dir: t.TempDir()}
	if err := os.Symlink(file, filepath.Join(e.dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { failed <- e.start() }()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("it starts without a directory")
			e.stop()
		}
	case <-time.After(startTimeout / 2):
		t.Error("it waits for a server that has failed")
	}
}
