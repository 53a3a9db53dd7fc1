package registry

import (
	"flag"
	"os"
	"testing"
	"time"

	"fanfare/internal/leak"
)

// session has what a Registry and a Wheel need, and an id for messages.
type session struct {
	entry Entry[*session]
	timer Timer[*session]
	id    int
}

func newRegistry(limits Limits) *Registry[*session] {
	return New(func(s *session) *Entry[*session] { return &s.entry }, limits)
}

func newWheel(tick time.Duration, slots int) *Wheel[*session] {
	return NewWheel(func(s *session) *Timer[*session] { return &s.timer }, tick, slots)
}

// TestMain fails if goroutines are left: this package starts none.
func TestMain(m *testing.M) {
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzer leaves a goroutine that waits for signals
	}
	leak.Exit(code, 10*time.Second, func() []string { return leak.Goroutines() })
}

// withoutRace leaves a test to the pass without the race detector, because one goroutine computes: there is no race to
// find, and the detector multiplies the time and the memory.
func withoutRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine: runs without the race detector")
	}
}
