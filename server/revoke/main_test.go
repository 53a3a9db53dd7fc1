package revoke

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"fanfare/internal/leak"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) { leak.Main(m, 10*time.Second) }

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// began is when the clock of each test begins.
const began = 1_800_000_000

func newClock() *clock { return &clock{now: time.Unix(began, 0)} }

// fakeStore is a Store in memory, which fails while err is not nil.
type fakeStore struct {
	mu      sync.Mutex
	history int
	state   uint64
	entries map[string]Entry
	err     error
	loads   int
}

func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeStore) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = nil
	s.history++
}

func (s *fakeStore) ids() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

func (s *fakeStore) Put(_ context.Context, e Entry, last uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return 0, s.err
	case s.entries[e.ID].Revision != last:
		return 0, ErrConflict
	case s.entries == nil:
		s.entries = make(map[string]Entry)
	}
	s.state++
	e.Revision = s.state
	s.entries[e.ID] = e
	return e.Revision, nil
}

func (s *fakeStore) Remove(_ context.Context, id string, revision uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && s.entries[id].Revision <= revision {
		s.state++
		delete(s.entries, id)
	}
	return s.err
}

func (s *fakeStore) Load(_ context.Context, since Version) (all []Entry, v Version, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	v = Version{fmt.Sprint(s.history), fmt.Sprint(s.state)}
	if s.err != nil || v == since {
		return nil, v, s.err
	}
	for _, e := range s.entries {
		all = append(all, e)
	}
	return all, v, nil
}

// open returns a List that is closed when the test ends.
func open(t *testing.T, cfg Config, c *clock) *List {
	t.Helper()
	if cfg.Age == 0 {
		cfg.Age = time.Hour
	}
	l, err := newList(t.Context(), cfg, c.time)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Store != nil {
		t.Cleanup(l.Close)
	}
	return l
}

func add(t *testing.T, l *List, e Entry) Entry {
	t.Helper()
	e, err := l.Add(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
