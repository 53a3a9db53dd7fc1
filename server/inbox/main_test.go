package inbox

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"fanfare/internal/leak"
	"fanfare/server/store"
)

// idleEnv names the directory of a store that this program, as a child of a test,
// opens and leaves alone.
const idleEnv = "FANFARE_TEST_INBOX_IDLE"

// TestMain fails the package if a goroutine of ours, or of a NATS, is left.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	if dir := os.Getenv(idleEnv); dir != "" {
		idle(dir)
		return
	}
	leak.Main(m, 10*time.Second,
		"testing.(*M).startAlarm",
		"internal/fuzz.", "testing.runFuzzing",
		"nats-server/v2/server/ats.", // its coarse clock
		"nats-server/v2/server/pse.", // its look at the process
		"os/signal.",
	)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// testStore is a Store that may be closed before the test ends.
type testStore struct {
	*Store
	once sync.Once
}

func (s *testStore) close() { s.once.Do(s.Store.Close) }

// pause keeps a store of an outside NATS from verifying its streams until resume is called: it
// does so by itself after a connection, and after a stream was created, when a test may be
// about to replace the stream.
func (s *testStore) pause(t testing.TB) (resume func()) {
	t.Helper()
	close(s.quit)
	s.background.Wait()
	s.quit = make(chan struct{})
	if err := s.verifyStreams(ctx); err != nil { // again: it may have been under way
		t.Fatal(err)
	}
	return func() {
		s.background.Go(func() { s.runOutside(nil) })
		s.background.Go(s.runAcks)
	}
}

// open opens a store in a directory and closes it when the test ends.
func open(t testing.TB, cfg Config) *testStore {
	t.Helper()
	if cfg.Dir == "" && cfg.URL == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	opened, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &testStore{Store: opened}
	t.Cleanup(s.close)
	return s
}

// user and topic are boxes.
func user(name string) store.Box  { return store.Box{User: name} }
func topic(name string) store.Box { return store.Box{Topic: name} }

// add appends an entry.
func add(s store.Store, b store.Box, e store.Entry) (store.Receipt, error) {
	return s.Begin(b, e).Finish(context.Background())
}

// put appends texts and returns their offsets.
func put(t testing.TB, s store.Store, b store.Box, texts ...string) (offsets []uint64) {
	t.Helper()
	for _, text := range texts {
		r, err := add(s, b, store.Entry{Payload: []byte(text)})
		if err != nil {
			t.Fatalf("append %.20q: %v", text, err)
		}
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// read returns all messages after an offset as texts, without expired ones.
func read(t testing.TB, s store.Store, b store.Box, after uint64) (texts []string, gap bool) {
	t.Helper()
	p, err := s.Read(context.Background(), b, after, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range p.Rest {
		m, err := s.Get(context.Background(), b, offset)
		if m == nil || err != nil {
			t.Fatalf("message %d: %v, %v", offset, m, err)
		}
		p.Messages = append(p.Messages, *m)
	}
	for _, m := range p.Messages {
		if m.Offset <= after {
			t.Fatalf("offset %d after %d", m.Offset, after)
		}
		after = m.Offset
		if !m.Expired(time.Now()) {
			texts = append(texts, string(m.Payload))
		}
	}
	return texts, p.Gap
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}
