package inbox

import (
	"fmt"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/subject"
)

// recreate makes stream k of an outside NATS what a restored backup of it would be:
// the same configuration, with the messages of a store's box from the beginning.
func recreate(t *testing.T, s *testStore, k subject.Kind, first uint64) {
	t.Helper()
	replace(t, s, k, func(sc *jetstream.StreamConfig) { sc.FirstSeq = first })
}

// replace creates a stream of an outside NATS again, with a changed configuration. No other
// store may be verifying it.
func replace(t *testing.T, s *testStore, k subject.Kind, change func(*jetstream.StreamConfig)) {
	t.Helper()
	defer s.pause(t)()
	js := s.link.Load().js
	found, err := js.Stream(ctx, k.Stream())
	if err != nil {
		t.Fatal(err)
	}
	sc := found.CachedInfo().Config
	change(&sc)
	if err := js.DeleteStream(ctx, k.Stream()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, sc); err != nil {
		t.Fatal(err)
	}
}

// TestOffsetsNeverGoBack: whatever happens to the streams of an outside NATS, and
// whether a node has seen it or starts later, a new message has a greater offset than
// all earlier ones, and is not acknowledged.
func TestOffsetsNeverGoBack(t *testing.T) {
	for _, box := range []struct {
		k    subject.Kind
		user bool
	}{{subject.Inbox, true}, {subject.Topic, false}} {
		b := user("u")
		if !box.user {
			b = topic("t")
		}
		for name, lose := range map[string]func(t *testing.T, s *testStore, at []uint64){
			"all streams deleted": func(t *testing.T, s *testStore, at []uint64) {
				for k := range subject.Kinds {
					if err := s.link.Load().js.DeleteStream(ctx, k.Stream()); err != nil {
						t.Fatal(err)
					}
				}
			},
			"one stream deleted": func(t *testing.T, s *testStore, at []uint64) {
				if err := s.link.Load().js.DeleteStream(ctx, box.k.Stream()); err != nil {
					t.Fatal(err)
				}
			},
			"restored, positions are later": func(t *testing.T, s *testStore, at []uint64) { recreate(t, s, box.k, at[0]) },
		} {
			for _, restarted := range []bool{false, true} {
				t.Run(fmt.Sprint(b, name, restarted), func(t *testing.T) {
					if raceEnabled && restarted == box.user { // either way once, and each kind of box
						t.Skip("the race detector sees every second case; this one runs without it")
					}
					url := outside(t, natsserver.Options{})
					s := open(t, Config{URL: url, Messages: 700})
					at := put(t, s, b, "1", "2", "3")
					if at[0] < 1<<50 || at[2] >= 1<<53 {
						t.Errorf("the first offset is %d", at[0])
					}
					for range 2000 { // more than one batch, and more than Messages
						at = append(at, put(t, s, b, "x")...)
					}
					last := at[len(at)-1]
					if err := s.AckSync(ctx, b, "u", last); err != nil {
						t.Fatal(err)
					}
					epoch := s.Epoch(b)
					if restarted {
						js := open(t, Config{URL: url, Messages: 700})
						s.close()
						lose(t, js, at)
						js.close()
						s = open(t, Config{URL: url, Messages: 700})
					} else {
						lose(t, s, at)
						s.prepared.Store(false) // as after a new connection
						s.wake()
					}
					eventually(t, "verification", func() bool { return s.Ready() == nil && s.Epoch(b) != epoch })
					if continues(t, s, b, epoch, at[1]) {
						t.Error("a position of the former stream continues")
					}
					next := put(t, s, b, "new")
					if next[0] <= last {
						t.Fatalf("a new message has offset %d, an earlier one had %d", next[0], last)
					}
					acked, _, err := s.Acked(ctx, b, "u")
					if err != nil {
						t.Fatal(err)
					}
					if got, _ := read(t, s, b, acked); strings.Join(got, " ") != "new" {
						t.Errorf("after the position: %q", got)
					}
				})
			}
		}
	}
}

// TestRestoredFarBack: offsets that are too many to be skipped are not assigned again
// either; the store says what to do.
func TestRestoredFarBack(t *testing.T) {
	url := outside(t, natsserver.Options{})
	s := open(t, Config{URL: url})
	put(t, s, user("u"), "1")
	recreate(t, s, subject.Inbox, 1)
	err := s.verifyStreams(ctx)
	for _, want := range []string{subject.Inbox.Stream(), "ends at offset 0", "delete the stream"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	if s.Ready() == nil {
		t.Error("ready")
	}
	// The advice in the error helps.
	if err := s.link.Load().js.DeleteStream(ctx, subject.Inbox.Stream()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	put(t, s, user("u"), "2")
}
