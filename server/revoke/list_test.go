package revoke

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestCheck(t *testing.T) {
	c := newClock()
	l := open(t, Config{}, c)
	add(t, l, Entry{User: "blocked"})
	add(t, l, Entry{User: "alice", Before: began - 100})
	add(t, l, Entry{Token: "t1"})
	add(t, l, Entry{All: true, Before: began - 1000})
	for _, tt := range []struct {
		name, user, token string
		issued            time.Time
		want              Verdict
	}{
		{"another user", "bob", "t2", time.Unix(began, 0), Valid},
		{"blocked", "blocked", "", time.Unix(began+50, 0), Blocked},
		{"issued before", "alice", "", time.Unix(began-101, 0), Revoked},
		{"issued at the time", "alice", "", time.Unix(began-100, 0), Valid},
		{"a fraction before", "alice", "", time.Unix(began-101, 999e6), Revoked},
		{"token", "bob", "t1", time.Unix(began, 0), Revoked},
		{"a user who is named like a token", "t1", "", time.Unix(began, 0), Valid},
		{"all", "bob", "", time.Unix(began-1001, 0), Revoked},
		{"not all", "bob", "", time.Unix(began-1000, 0), Valid},
		{"1970", "bob", "", time.Unix(0, 0), Revoked},
		{"far in the future", "alice", "", time.Unix(1<<53, 0), Valid},
		{"the zero time", "bob", "", time.Time{}, Revoked},
	} {
		if got := l.Check(tt.user, tt.token, tt.issued); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	c.advance(time.Hour)
	for _, user := range []string{"blocked", "alice", "bob"} {
		if got := l.Check(user, "t1", time.Unix(0, 0)); got != Valid {
			t.Errorf("%s: %d after the entries have expired", user, got)
		}
	}
	if all, err := l.Entries(); err != nil || len(all) != 0 {
		t.Errorf("expired entries are listed: %v, %v", all, err)
	}
}

// TestAddMerges: an entry never permits what another one has revoked.
func TestAddMerges(t *testing.T) {
	c := newClock()
	l := open(t, Config{Store: new(fakeStore)}, c)
	first := add(t, l, Entry{User: "alice", Before: began - 10})
	second := add(t, l, Entry{User: "alice", Before: began - 50, Expires: began + 5})
	if second.ID != first.ID || second.Before != began-10 || second.Expires != began+3600 {
		t.Errorf("%+v, then %+v", first, second)
	}
	c.advance(2 * time.Hour) // nothing is left of it
	if third := add(t, l, Entry{User: "alice", Before: began - 50}); third.Before != began-50 {
		t.Errorf("an expired entry counts: %+v", third)
	}
	if all, err := l.Entries(); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestRemove(t *testing.T) {
	for name, st := range map[string]Store{"memory": nil, "store": new(fakeStore)} {
		t.Run(name, func(t *testing.T) {
			l := open(t, Config{Store: st}, newClock())
			e := add(t, l, Entry{User: "alice"})
			if err := l.Remove(t.Context(), "0"); !errors.Is(err, ErrNotFound) {
				t.Errorf("an unknown id: %v", err)
			}
			if err := l.Remove(t.Context(), e.ID); err != nil {
				t.Error(err)
			}
			if got := l.Check("alice", "", time.Unix(began, 0)); got != Valid {
				t.Errorf("removed, and %d", got)
			}
		})
	}
}

// TestBound: an entry beyond the limit is rejected, one in place of another is not, and
// expired ones make room.
func TestBound(t *testing.T) {
	for name, st := range map[string]Store{"memory": nil, "store": new(fakeStore)} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			l := open(t, Config{Entries: 1000, Store: st}, c)
			for i := range 1000 {
				add(t, l, Entry{Token: fmt.Sprint(i)})
			}
			if _, err := l.Add(t.Context(), Entry{Token: "one more"}); !errors.Is(err, ErrFull) {
				t.Fatalf("the error is %v", err)
			}
			if l.Check("a", "one more", time.Unix(began, 0)) != Valid || l.Check("a", "999", time.Unix(began, 0)) != Revoked {
				t.Error("other entries than the first 1,000 are in force")
			}
			add(t, l, Entry{Token: "7"})
			c.advance(time.Hour)
			add(t, l, Entry{Token: "one more"})
		})
	}
}

// TestNodes: two lists of one store agree, whether they are told or not.
func TestNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, c := new(fakeStore), newClock()
		a, b := open(t, Config{Store: st}, c), open(t, Config{Store: st}, c)
		told := 0
		b.OnChange(func() { told++ })
		add(t, a, Entry{User: "alice"})
		if b.Check("alice", "", c.time()) != Valid {
			t.Fatal("the other list knows too early: the test asserts nothing")
		}
		time.Sleep(2 * readInterval)
		synctest.Wait()
		if b.Check("alice", "", c.time()) != Blocked || told != 1 {
			t.Errorf("the other list does not know, or called OnChange %d times", told)
		}
		e := add(t, a, Entry{User: "bob", Before: began - 5})
		b.Apply(e)
		if b.Check("bob", "", time.Unix(0, 0)) != Revoked {
			t.Error("Apply has no effect")
		}
		merged := add(t, b, Entry{User: "bob", Before: began - 9}) // b does not know the revision
		if merged.Before != began-5 {
			t.Errorf("the entry of the other node got lost: %+v", merged)
		}
		if err := a.Remove(t.Context(), e.ID); err != nil { // a neither
			t.Error(err)
		}
		b.Forget(e.ID)
		if b.Check("bob", "", time.Unix(0, 0)) != Valid {
			t.Error("Forget has no effect")
		}
		c.advance(time.Hour + 2*maxAhead*time.Second)
		time.Sleep(2 * readInterval)
		synctest.Wait()
		if n := st.ids(); n != 0 {
			t.Errorf("%d entries have expired and are stored", n)
		}
	})
}

// TestStoreAway: nothing is decided before the entries are read; later they stay in force.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("the store is away")
		st, c := &fakeStore{err: away}, newClock()
		l := open(t, Config{Store: st}, c)
		if l.Check("alice", "", c.time()) != Unknown || l.Loaded() || !errors.Is(l.Ready(), away) {
			t.Error("the list decides although it knows nothing")
		}
		if _, err := l.Add(t.Context(), Entry{User: "alice"}); !errors.Is(err, ErrNotLoaded) {
			t.Errorf("Add: %v", err)
		}
		if _, err := l.Entries(); !errors.Is(err, ErrNotLoaded) || !errors.Is(err, away) {
			t.Errorf("Entries: %v", err)
		}
		st.fail(nil)
		time.Sleep(2 * readRetry)
		synctest.Wait()
		if l.Check("alice", "", c.time()) != Valid || l.Ready() != nil {
			t.Error("the list is not loaded")
		}
		e := add(t, l, Entry{User: "alice"})
		st.fail(away)
		time.Sleep(2 * readInterval)
		synctest.Wait()
		if l.Check("alice", "", c.time()) != Blocked || l.Ready() == nil {
			t.Error("the entry is not in force while the store is away, or that is not told")
		}
		if _, err := l.Add(t.Context(), Entry{User: "bob"}); !errors.Is(err, away) {
			t.Errorf("Add: %v", err)
		}
		if err := l.Remove(t.Context(), e.ID); !errors.Is(err, away) {
			t.Errorf("Remove: %v", err)
		}
		if l.Check("bob", "", c.time()) != Valid || l.Check("alice", "", c.time()) != Blocked {
			t.Error("what failed has an effect")
		}
	})
}

// TestStoreLoses: a list puts back what its store has lost.
func TestStoreLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, c := new(fakeStore), newClock()
		l := open(t, Config{Store: st}, c)
		add(t, l, Entry{User: "alice"})
		time.Sleep(2 * readInterval)
		synctest.Wait()
		st.lose()
		time.Sleep(2 * readInterval)
		synctest.Wait()
		if l.Check("alice", "", c.time()) != Blocked || st.ids() != 1 {
			t.Errorf("the entry is lost, %d are stored", st.ids())
		}
		other := open(t, Config{Store: st}, c)
		if other.Check("alice", "", c.time()) != Blocked {
			t.Error("another list does not know the entry")
		}
	})
}

func TestValidate(t *testing.T) {
	for _, cfg := range []Config{{}, {Age: -1}, {Age: maxAge + 1}, {Age: time.Hour, Entries: -1}, {Age: time.Hour, Entries: maxEntries + 1}} {
		if err := cfg.Validate(); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
