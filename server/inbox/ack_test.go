package inbox

import (
	"errors"
	"fmt"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

func TestAckOnlyGrows(t *testing.T) {
	s := open(t, Config{})
	for _, offset := range []uint64{5, 9, 3} {
		s.Ack(user("u"), "u", offset)
		if !s.storeAcks() {
			t.Fatal("not stored")
		}
		s.Ack(user("u"), "u", 2)
	}
	if at, _, err := s.Acked(ctx, user("u"), "u"); at != 9 || err != nil {
		t.Errorf("%d, %v", at, err)
	}
	if at, known, err := s.Acked(ctx, user("v"), "v"); at != 0 || known || err != nil {
		t.Errorf("%d, %v, %v", at, known, err)
	}
}

// TestAckedIsStored: a position that one node has returned, other nodes know. One
// that is older would bring later messages to a session that began here.
func TestAckedIsStored(t *testing.T) {
	url := outside(t, natsserver.Options{})
	a, b := open(t, Config{URL: url}), open(t, Config{URL: url})
	for i, box := range []store.Box{user("u"), topic("t"), user("u"), user("u"), topic("t"), topic("t")} {
		offset := uint64(i + 1)
		a.Ack(box, "u", offset)
		here, known, err := a.Acked(ctx, box, "u")
		if here != offset || !known || err != nil {
			t.Fatalf("%d: %d, %v, %v", i, here, known, err)
		}
		if there, known, err := b.Acked(ctx, box, "u"); there != here || !known || err != nil {
			t.Fatalf("%d: %d here; %d, %v, %v at another", i, here, there, known, err)
		}
	}
}

// TestPositionOfEmptyTopic: Ack leaves no record for a topic without messages, so
// that invented names fill nothing. It does for one with a message, and AckSync does
// for every topic.
func TestPositionOfEmptyTopic(t *testing.T) {
	s := open(t, Config{})
	for i := range 100 {
		s.Ack(topic(fmt.Sprint("sc.", i)), "v", 0)
	}
	if !s.storeAcks() {
		t.Error("not stored")
	}
	if st, err := s.state(ctx, subject.Ack); st.Messages != 0 || err != nil {
		t.Errorf("%+v, %v", st, err)
	}
	if _, known, err := s.Acked(ctx, topic("sc.1"), "v"); known || err != nil {
		t.Error(known, err)
	}
	if err := s.AckSync(ctx, topic("sc.2"), "w", 0); err != nil {
		t.Fatal(err)
	}
	if at, known, err := s.Acked(ctx, topic("sc.2"), "w"); at != 0 || !known || err != nil {
		t.Error(at, known, err)
	}
	put(t, s, topic("sc.1"), "x")
	for _, name := range []string{"u", "v"} {
		s.Ack(topic("sc.1"), name, 0)
		if at, known, err := s.Acked(ctx, topic("sc.1"), name); at != 0 || !known || err != nil {
			t.Errorf("%s: %d, %v, %v", name, at, known, err)
		}
	}
}

// TestPositionsQuota: positions have a limit of their own. When it is reached, new
// ones are rejected, none is evicted, existing ones are updated, and no message is
// removed. Positions of inboxes have the other half.
func TestPositionsQuota(t *testing.T) {
	s := open(t, Config{Positions: 1 << 16, Disk: 1 << 20})
	at := put(t, s, topic("t"), "1", "2")
	kept := put(t, s, user("u"), "kept")
	if err := s.AckSync(ctx, topic("t"), "first", at[0]); err != nil {
		t.Fatal(err)
	}
	full := 0
	for i := range 1000 {
		err := s.AckSync(ctx, topic("t"), fmt.Sprint("stranger ", i), at[0])
		if errors.Is(err, store.ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if full < 500 {
		t.Errorf("%d of 1000 positions are rejected", full)
	}
	if pos, known, err := s.Acked(ctx, topic("t"), "first"); pos != at[0] || !known || err != nil {
		t.Errorf("%d, %v, %v: evicted", pos, known, err)
	}
	if err := s.AckSync(ctx, topic("t"), "first", at[1]); err != nil {
		t.Errorf("an existing position is not updated: %v", err)
	}
	if err := s.AckSync(ctx, user("u"), "u", kept[0]); err != nil {
		t.Errorf("a position of an inbox is rejected: %v", err)
	}
	if got, gap := read(t, s, user("u"), 0); len(got) != 1 || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	// All of it.
	for i := 0; ; i++ {
		err := s.AckSync(ctx, user(fmt.Sprint("user ", i)), "", 1)
		if errors.Is(err, store.ErrFull) {
			break
		}
		if err != nil || i > 2000 {
			t.Fatal(i, err)
		}
	}
	if err := s.AckSync(ctx, user("u"), "u", kept[0]+1); err != nil {
		t.Errorf("an existing position is not updated: %v", err)
	}
	if s.Stats().Rejected == 0 {
		t.Error("not counted")
	}
}
