package inbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/revoke"
)

func revocationList(t *testing.T, s *testStore) *revoke.List {
	t.Helper()
	l, err := revoke.New(t.Context(), revoke.Config{Age: time.Hour, Store: s.Revocations(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestRevocationsRestart: 1,000 entries outlast an embedded store, and one that was removed
// does not come back.
func TestRevocationsRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	l := revocationList(t, s)
	for i := range 1000 {
		if _, err := l.Add(t.Context(), revoke.Entry{Token: fmt.Sprint("t", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Add(t.Context(), revoke.Entry{Token: "t7"}); err != nil {
		t.Fatalf("the second entry of a token: %v", err)
	}
	gone, err := l.Add(t.Context(), revoke.Entry{User: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	l.Close()
	s.close()

	s = open(t, Config{Dir: dir})
	l = revocationList(t, s)
	defer l.Close()
	all, err := l.Entries()
	if err != nil || len(all) != 1000 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	now := time.Now()
	if l.Check("bob", "t999", now) != revoke.Revoked || l.Check("bob", "t1000", now) != revoke.Valid || l.Check("alice", "", now) != revoke.Valid {
		t.Error("other entries are in force than before")
	}
}

// TestRevocationsOutside: two nodes share a stream of an outside NATS, notice each other's
// changes, and put back what the stream has lost.
func TestRevocationsOutside(t *testing.T) {
	url := outside(t, natsserver.Options{})
	a, b := open(t, Config{URL: url}), open(t, Config{URL: url})
	one, other := revocationList(t, a), revocationList(t, b)
	defer one.Close()
	defer other.Close()
	if _, err := one.Add(t.Context(), revoke.Entry{User: "alice", Before: 5}); err != nil {
		t.Fatal(err)
	}
	e, err := other.Add(t.Context(), revoke.Entry{User: "alice", Before: 3}) // has not noticed the first
	if err != nil || e.Before != 5 {
		t.Fatalf("%+v, %v", e, err)
	}
	eventually(t, "the first node reads the entry of the second", func() bool {
		all, err := one.Entries()
		return err == nil && len(all) == 1 && all[0].Revision == e.Revision
	})
	if err := one.Remove(t.Context(), e.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second node notices", func() bool { return other.Check("alice", "", time.Unix(1, 0)) == revoke.Valid })
	if _, err := one.Add(t.Context(), revoke.Entry{User: "bob"}); err != nil {
		t.Fatal(err)
	}
	if err := a.link.Load().js.DeleteStream(t.Context(), revokedStream); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entry is back", func() bool {
		all, _, err := a.Revocations().Load(t.Context(), revoke.Version{})
		return err == nil && len(all) == 1 && all[0].User == "bob"
	})
	if one.Check("bob", "", time.Now()) != revoke.Blocked {
		t.Error("the entry was not in force meanwhile")
	}
}

// TestRevocationsUnavailable: a NATS that is away is an error, and a list knows that it
// knows nothing.
func TestRevocationsUnavailable(t *testing.T) {
	s := open(t, Config{URL: "nats://127.0.0.1:1", Timeout: 50 * time.Millisecond})
	l := revocationList(t, s)
	defer l.Close()
	if l.Check("alice", "", time.Now()) != revoke.Unknown {
		t.Error("the list decides")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := l.Add(ctx, revoke.Entry{User: "alice"}); !errors.Is(err, revoke.ErrNotLoaded) {
		t.Errorf("the error is %v", err)
	}
}

// TestWrongLast: both codes of JetStream say that another write came first, and nothing else does.
func TestWrongLast(t *testing.T) {
	for code, want := range map[int]bool{10071: true, 10164: true, codeStoreFailed: false, codeNoMessage: false, 0: false} {
		if wrongLast(code) != want {
			t.Errorf("code %d: %v", code, !want)
		}
	}
}
