package presence

import (
	"fmt"
	"testing"
	"time"
)

// TestLastSeen: the journal says when users were seen last who are offline, in any number.
func TestLastSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.node("a", 0)
	defer a.Close()
	users := make([]string, seenBatch+1) // more than one request asks for
	for i := range users {
		users[i] = fmt.Sprint("nobody", i)
	}
	users[0], users[seenBatch], users[1] = "alice", "bob", "carol"
	if _, err := a.LastSeen(t.Context(), users); err == nil {
		t.Error("there is a journal before a node was elected")
	}
	before := time.Now().Add(-time.Minute) // the journal has the time of a tick
	for _, user := range []string{"alice", "bob", "carol"} {
		a.Observe(online(user))
	}
	until(t, "online", func() bool { return len(w.reports()) == 3 })
	a.Observe(offline("alice"))
	a.Observe(offline("bob"))
	until(t, "offline", func() bool { return len(w.reports()) == 5 })
	seen, err := a.LastSeen(t.Context(), users)
	if err != nil || len(seen) != 2 || seen["alice"].Before(before) || seen["bob"].Before(before) {
		t.Errorf("%v, %v", seen, err)
	}
	if seen, err := a.LastSeen(t.Context(), users[1:seenBatch]); err != nil || len(seen) != 0 {
		t.Errorf("%v, %v", seen, err)
	}
}
