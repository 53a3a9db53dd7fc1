package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server/store"
)

var news = store.Box{Topic: "news"}

// fakeStore has the messages of one box.
type fakeStore struct {
	store.Store
	mu       sync.Mutex
	epoch    string
	messages []store.Message
	removed  uint64 // messages up to here
	last     uint64
	reads    int
	changing bool  // the epoch is another one after each read
	err      error // of Read
}

func (f *fakeStore) add(text string, ttl time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	m := store.Message{Offset: f.last, Payload: []byte(text)}
	if ttl > 0 {
		m.Expires = time.Now().Add(ttl)
	}
	f.messages = append(f.messages, m)
}

// remove removes the oldest messages up to an offset.
func (f *fakeStore) remove(upTo uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.removed = upTo; len(f.messages) > 0 && f.messages[0].Offset <= upTo; {
		f.messages = f.messages[1:]
	}
}

func (f *fakeStore) Epoch(store.Box) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch
}

func (f *fakeStore) Continues(_ context.Context, _ store.Box, epoch string, offset uint64) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return epoch == f.epoch && offset <= f.last, nil
}

func (f *fakeStore) Last(context.Context, store.Box) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, nil
}

func (f *fakeStore) Read(_ context.Context, _ store.Box, after uint64, maxBytes int) (p store.Page, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.changing {
		f.epoch += "+"
	}
	size := 0
	for _, m := range f.messages {
		switch {
		case m.Offset <= after:
		case len(p.Messages) > 0 && (len(p.Rest) > 0 || size+len(m.Payload) > maxBytes):
			p.Rest = append(p.Rest, m.Offset)
		default:
			size += len(m.Payload)
			p.Messages = append(p.Messages, m)
		}
	}
	p.Gap = after < f.removed
	return p, f.err
}

// restore begins another epoch.
func (f *fakeStore) restore(epoch string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch = epoch
}

// told is a page as the tests name it.
func told(p Page) (s string) {
	for _, m := range p.Messages {
		s += fmt.Sprintf("%d:%s ", m.Offset, m.Payload)
	}
	s += fmt.Sprintf("next %d %s", p.Next, p.Epoch)
	if p.More > 0 {
		s += fmt.Sprintf(", %d more", p.More)
	}
	if p.Gap {
		s += ", gap"
	}
	return s
}

func TestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{epoch: "e"}
		f.add("removed", 0)
		f.add("a", 0)
		f.add("expired", time.Second)
		f.add("b", 0)
		f.add("c", 0)
		f.remove(1)
		time.Sleep(time.Second)
		v := New(Config{Store: f})
		for _, tt := range []struct {
			q    Query
			want string
		}{
			{Query{MaxBytes: 100}, "2:a 4:b 5:c next 5 e, gap"},
			{Query{MaxBytes: 100, After: 1}, "2:a 4:b 5:c next 5 e"},
			{Query{MaxBytes: 100, After: 1, Epoch: "e"}, "2:a 4:b 5:c next 5 e"},
			{Query{MaxBytes: 100, After: 4, Epoch: "other"}, "2:a 4:b 5:c next 5 e, gap"},
			{Query{MaxBytes: 100, After: 9, Epoch: "e"}, "2:a 4:b 5:c next 5 e, gap"},
			{Query{MaxBytes: 100, After: 9}, "2:a 4:b 5:c next 5 e, gap"},
			{Query{MaxBytes: 100, After: 1, Limit: 2}, "2:a 4:b next 4 e, 1 more"},
			{Query{MaxBytes: 100, After: 4, Limit: 1}, "5:c next 5 e"},
			{Query{MaxBytes: 1, After: 1}, "2:a next 2 e, 3 more"},
			{Query{MaxBytes: 1, After: 2}, "next 3 e, 2 more"},
			{Query{MaxBytes: 100, After: 5}, "next 5 e"},
		} {
			if p, err := v.Read(t.Context(), news, tt.q); err != nil || told(p) != tt.want {
				t.Errorf("%+v: got %s, %v, want %s", tt.q, told(p), err, tt.want)
			}
		}
		f.remove(5)
		p, err := v.Read(t.Context(), news, Query{MaxBytes: 100, After: 2})
		if want := "next 5 e, gap"; err != nil || told(p) != want {
			t.Errorf("all removed: got %s, %v, want %s", told(p), err, want)
		}
		if p, err = v.Read(t.Context(), news, Query{MaxBytes: 100, After: p.Next, Epoch: p.Epoch}); err != nil || told(p) != "next 5 e" {
			t.Errorf("after the gap: got %s, %v", told(p), err)
		}
		f.changing = true
		if _, err = v.Read(t.Context(), news, Query{}); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("epochs that change: got %v", err)
		}
		if f.changing, f.epoch = false, ""; true {
			if _, err = v.Read(t.Context(), news, Query{}); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("no epoch: got %v", err)
			}
		}
		f.err = store.ErrDamaged
		if _, err = v.Read(t.Context(), news, Query{}); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("damage: got %v", err)
		}
	})
}

// fakeCluster counts what is held.
type fakeCluster struct {
	held  map[store.Box]int
	syncs int
	err   error         // of Sync
	stall time.Duration // of Sync
}

func (c *fakeCluster) Hold(b store.Box)    { c.held[b]++ }
func (c *fakeCluster) Release(b store.Box) { c.held[b]-- }
func (c *fakeCluster) Sync(ctx context.Context, _ store.Box) error {
	c.syncs++
	select {
	case <-time.After(c.stall):
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAwait(t *testing.T) {
	const wait = 30 * time.Second
	for name, tt := range map[string]struct {
		cluster *fakeCluster
		during  func(v *Service, f *fakeStore, cancel func()) // after a second
		want    string
		err     error
		took    time.Duration
		reads   int
	}{
		"a message":        {nil, func(v *Service, f *fakeStore, _ func()) { f.add("x", 0); v.Stored(news) }, "1:x next 1 e", nil, time.Second, 2},
		"of another topic": {nil, func(v *Service, f *fakeStore, _ func()) { v.Stored(store.Box{User: "news"}) }, "next 0 e", nil, wait, 2},
		"that has expired": {nil, func(v *Service, f *fakeStore, _ func()) {
			f.add("x", time.Nanosecond)
			time.Sleep(time.Nanosecond)
			v.Stored(news)
		}, "next 1 e", nil, wait, 3},
		"a gap":         {nil, func(v *Service, f *fakeStore, _ func()) { f.add("x", 0); f.remove(1); v.Stored(news) }, "next 1 e, gap", nil, time.Second, 3},
		"another epoch": {nil, func(v *Service, f *fakeStore, _ func()) { f.restore("f"); v.Recheck() }, "next 0 f, gap", nil, time.Second, 3},
		"a lost notice": {nil, func(v *Service, f *fakeStore, _ func()) { f.add("x", 0) }, "1:x next 1 e", nil, wait, 2},
		"a recheck":     {nil, func(v *Service, f *fakeStore, _ func()) { f.add("x", 0); v.Recheck() }, "1:x next 1 e", nil, time.Second, 2},
		"nothing":       {nil, func(*Service, *fakeStore, func()) {}, "next 0 e", nil, wait, 2},
		"the end":       {nil, func(v *Service, _ *fakeStore, _ func()) { v.End() }, "next 0 e", nil, time.Second, 1},
		"cancellation":  {nil, func(_ *Service, _ *fakeStore, cancel func()) { cancel() }, "next 0 e", context.Canceled, time.Second, 1},
		"cluster":       {&fakeCluster{}, func(*Service, *fakeStore, func()) {}, "next 0 e", nil, wait, 3},
		"cluster, lost": {&fakeCluster{}, func(v *Service, f *fakeStore, _ func()) { f.add("x", 0) }, "1:x next 1 e", nil, 2 * time.Second, 2},
		"cluster, away": {&fakeCluster{err: errors.New("no NATS")}, func(*Service, *fakeStore, func()) {}, "next 0 ", store.ErrUnavailable, 0, 0},
		"cluster, slow": {&fakeCluster{stall: 2 * wait}, func(v *Service, f *fakeStore, _ func()) { f.add("x", 0) }, "1:x next 1 e", nil, wait, 1},
		"cluster, gone": {&fakeCluster{stall: wait}, func(_ *Service, _ *fakeStore, cancel func()) { cancel() }, "next 0 ", context.Canceled, time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeStore{epoch: "e"}
				cfg := Config{Store: f}
				if tt.cluster != nil {
					tt.cluster.held = make(map[store.Box]int)
					cfg.Cluster = tt.cluster
				}
				v := New(cfg)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				during := time.AfterFunc(time.Second, func() { tt.during(v, f, cancel) })
				defer during.Stop()
				began := time.Now()
				p, err := v.Await(ctx, news, Query{MaxBytes: 100}, wait)
				if told(p) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("got %s, %v, want %s, %v", told(p), err, tt.want, tt.err)
				}
				if took := time.Since(began); took.Round(time.Millisecond) != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if f.reads != tt.reads {
					t.Errorf("the store was read %d times, want %d", f.reads, tt.reads)
				}
				if c := tt.cluster; c != nil && (c.held[news] != 0 || c.syncs != 1) {
					t.Errorf("held %d, synced %d times, want 0, once", c.held[news], c.syncs)
				}
				if v.Waiting() != 0 || len(v.waiters) != 0 {
					t.Errorf("left behind: %d, %v", v.Waiting(), v.waiters)
				}
			})
		})
	}
}

// TestEnd: nothing waits between End and Resume.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(Config{Store: &fakeStore{epoch: "e"}})
		v.End()
		v.End()
		if _, err := v.Await(t.Context(), news, Query{}, time.Second); !errors.Is(err, ErrEnded) {
			t.Errorf("after End: got %v", err)
		}
		v.Resume()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if p, err := v.Await(t.Context(), news, Query{}, time.Hour); err != nil || told(p) != "next 0 e" {
					t.Errorf("after Resume: got %s, %v", told(p), err)
				}
			})
		}
		synctest.Wait()
		if n := v.Waiting(); n != 3 {
			t.Errorf("%d wait, want 3", n)
		}
		began := time.Now()
		v.End()
		if all.Wait(); time.Since(began) != 0 {
			t.Error("End does not end a wait")
		}
	})
}

// TestStoredCost: without a caller that waits, a stored message costs nothing.
func TestStoredCost(t *testing.T) {
	v := New(Config{Store: &fakeStore{}})
	v.mu.Lock() // Stored must not need it
	if n := testing.AllocsPerRun(100, func() { v.Stored(news) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	v.mu.Unlock()
}
