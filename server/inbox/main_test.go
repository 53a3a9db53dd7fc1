package inbox

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
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
	code := m.Run()
	if code != 0 {
		os.Exit(code)
	}
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if left = goroutines(); len(left) == 0 {
			os.Exit(0)
		}
	}
	fmt.Fprintf(os.Stderr, "left behind:\n\n%s\n", strings.Join(left, "\n\n"))
	os.Exit(1)
}

// permanent are goroutines that begin with the first use of a package and never
// end.
var permanent = []string{
	"testing.(*M).startAlarm",
	"internal/fuzz.",
	"testing.runFuzzing",
	"nats-server/v2/server/ats.", // its coarse clock
	"nats-server/v2/server/pse.", // its look at the process
	"os/signal.",
}

func goroutines() (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
next:
	for i, stack := range strings.Split(string(buf), "\n\n") {
		for _, p := range permanent {
			if strings.Contains(stack, p) {
				continue next
			}
		}
		if i > 0 {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// open opens a store in a directory and closes it when the test ends.
func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" && cfg.URL == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if !closed {
			s.Close()
		}
	})
	return s
}

// put appends texts and returns their offsets.
func put(t testing.TB, s *Store, b Box, texts ...string) (offsets []uint64) {
	t.Helper()
	for _, text := range texts {
		r, err := s.Append(context.Background(), b, Entry{Payload: []byte(text)})
		if err != nil {
			t.Fatalf("append %.20q: %v", text, err)
		}
		offsets = append(offsets, r.Offset)
	}
	return offsets
}

// read returns all behind an offset as texts.
func read(t testing.TB, s *Store, b Box, after uint64) (texts []string, gap bool) {
	t.Helper()
	u, err := s.Read(context.Background(), b, after, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range u.Rest {
		m, err := s.At(context.Background(), b, offset)
		if m == nil || err != nil {
			t.Fatalf("message %d: %v, %v", offset, m, err)
		}
		u.Messages = append(u.Messages, *m)
	}
	for _, m := range u.Messages {
		if m.Offset <= after {
			t.Fatalf("offset %d behind %d", m.Offset, after)
		}
		after = m.Offset
		texts = append(texts, string(m.Payload))
	}
	return texts, u.Gap
}
