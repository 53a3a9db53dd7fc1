package subject

import (
	"testing"
	"time"
)

func TestFirstOffset(t *testing.T) {
	at := func(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	if first := FirstOffset(at(2248), 0); first >= 1<<53 {
		t.Errorf("%d is not exact in JavaScript", first)
	}
	// A clock that was put back.
	if first := FirstOffset(at(2000), 1<<52); first != 1<<52+2 {
		t.Errorf("got %d", first)
	}
	if first := FirstOffset(at(2026), 7); first != uint64(at(2026).UnixMilli())<<10 {
		t.Errorf("got %d", first)
	}
}

func TestToken(t *testing.T) {
	for name, want := range map[string]string{"alice": "alice", "a.b": "a=2eb", "=": "=3d", "*>": "=2a=3e", "ü": "=c3=bc", "A-_9": "A-_9"} {
		if got := Token(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
