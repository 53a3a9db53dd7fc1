package registry

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
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

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzer leaves a goroutine that waits for signals
	}
	// A goroutine that is about to return may still need a processor.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if runtime.NumGoroutine() <= before {
			os.Exit(code)
		}
	}
	fmt.Fprintf(os.Stderr, "leaked goroutines: %d before, %d after\n", before, runtime.NumGoroutine())
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	os.Exit(1)
}
