package frame

import (
	"flag"
	"os"
	"testing"
	"time"

	"fanfare/internal/leak"
)

// TestMain fails if goroutines are left: this package starts none.
func TestMain(m *testing.M) {
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzer leaves goroutines
	}
	leak.Exit(code, 5*time.Second, func() []string { return leak.Goroutines() })
}

// withoutRace leaves a test to the pass without the race detector, because one goroutine computes: there is no race to
// find, and the detector multiplies the time.
func withoutRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine: runs without the race detector")
	}
}
