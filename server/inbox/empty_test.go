package inbox

import "testing"

// A box is known to be empty until something is appended to it, and after its last message
// is gone it counts as one that may not be.
func TestEmpty(t *testing.T) {
	s := open(t, Config{})
	alice := user("alice")
	if !s.Empty(alice) || !s.Empty(topic("news")) {
		t.Error("a box that was never used is not known to be empty")
	}
	put(t, s, alice, "x")
	if s.Empty(alice) {
		t.Error("a box with a message is empty")
	}
	if _, err := s.Purge(ctx, alice); err != nil {
		t.Fatal(err)
	}
	if s.Empty(alice) {
		t.Error("a box whose messages are gone counts as never used")
	}
	s.close()
	if s.Empty(user("bob")) {
		t.Error("a closed store knows that a box is empty")
	}
}

func TestEmptyAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := open(t, Config{})
	if n := testing.AllocsPerRun(100, func() { s.Empty(user("bob")) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
