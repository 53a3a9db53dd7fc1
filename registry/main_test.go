package registry

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
)

// session is the smallest thing that a Registry and a Wheel can hold.
type session struct {
	entry Entry[*session]
	timer Timer[*session]
	id    int
}

func (s *session) Entry() *Entry[*session] { return &s.entry }
func (s *session) Timer() *Timer[*session] { return &s.timer }

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			os.Exit(code)
		}
		runtime.Gosched() // those that have returned already may still be counted
	}
	fmt.Fprintf(os.Stderr, "leaked goroutines: %d before, %d after\n", before, runtime.NumGoroutine())
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	os.Exit(1)
}
