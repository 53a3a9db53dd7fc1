package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

var ctx = context.Background()

func TestOrderAndPages(t *testing.T) {
	s := open(t, Config{})
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprint(i))
	}
	a, b := User("a.b *>/ü"), User("a_b")
	for _, text := range want {
		put(t, s, a, text)
		put(t, s, b, "other "+text)
	}
	if got, gap := read(t, s, a, 0); !slices.Equal(got, want) || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	if got, _ := read(t, s, User("nobody"), 0); len(got) > 0 {
		t.Errorf("nobody has %q", got)
	}
}

func TestOrderOfConcurrentAppends(t *testing.T) {
	s := open(t, Config{})
	box := User("u")
	var all sync.WaitGroup
	var want []string
	for i := range 200 {
		text := fmt.Sprint(i)
		want = append(want, text)
		p := s.Begin(box, Entry{Payload: []byte(text)})
		all.Go(func() {
			if _, err := p.Finish(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, gap := read(t, s, box, 0); !slices.Equal(got, want) || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

func TestSameIDIsStoredOnce(t *testing.T) {
	s := open(t, Config{})
	box := User("u")
	var first Receipt
	for i := range 3 {
		r, err := s.Append(ctx, box, Entry{ID: "order 7", Payload: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = r
		}
		if r.Offset != first.Offset || r.Duplicate != (i > 0) {
			t.Errorf("%d: %+v", i, r)
		}
		put(t, s, box, "between")
	}
	if r, err := s.Append(ctx, User("other"), Entry{ID: "order 7", Payload: []byte("x")}); err != nil || r.Duplicate {
		t.Errorf("another user's message with the same ID: %+v, %v", r, err)
	}
}

func TestMessage(t *testing.T) {
	s := open(t, Config{})
	box := User("u")
	before := time.Now().Truncate(time.Millisecond)
	r, err := s.Append(ctx, box, Entry{Binary: true, TTL: time.Hour, Payload: []byte{0, 1, 0xff}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.Read(ctx, box, 0, 1<<20)
	if err != nil || len(u.Messages) != 1 {
		t.Fatal(u, err)
	}
	m := u.Messages[0]
	if m.Offset != r.Offset || !m.Binary || string(m.Payload) != "\x00\x01\xff" || m.Stored.Before(before) ||
		m.Expires.Before(before.Add(time.Hour)) || m.Expired(before) || !m.Expired(m.Expires) {
		t.Errorf("%+v", m)
	}
}

func TestAckNeverGoesBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	for _, offset := range []uint64{5, 9, 3} {
		s.Ack(User("u"), "u", offset)
		if !s.storeAcks() {
			t.Fatal("not stored")
		}
		s.Ack(User("u"), "u", 2)
	}
	if at, _, err := s.Acked(ctx, User("u"), "u"); at != 9 || err != nil {
		t.Errorf("%d, %v", at, err)
	}
	if at, _, err := s.Acked(ctx, User("v"), "v"); at != 0 || err != nil {
		t.Errorf("%d, %v", at, err)
	}
}

// TestAckedIsStored: a position that one node has told, others know. One that is a
// moment older would bring what is behind it to a device that began here.
func TestAckedIsStored(t *testing.T) {
	url := outside(t, natsserver.Options{})
	a, b := open(t, Config{URL: url}), open(t, Config{URL: url})
	for i, box := range []Box{User("u"), Topic("t"), User("u"), User("u"), Topic("t"), Topic("t")} {
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
	// The beginning is a place, too.
	a.Ack(Topic("t"), "v", 0)
	for _, s := range []*Store{a, b} {
		if at, known, err := s.Acked(ctx, Topic("t"), "v"); at != 0 || !known || err != nil {
			t.Errorf("%d, %v, %v", at, known, err)
		}
	}
}

func TestMessagesLimit(t *testing.T) {
	for _, test := range []struct {
		policy WhenFull
		want   string
		full   bool
	}{
		{FullDropOldest, "3 4 5", false},
		{FullRefuse, "0 1 2", true},
	} {
		s := open(t, Config{Messages: 3, UserFull: test.policy})
		box := User("u")
		var offsets []uint64
		refused := false
		for i := range 6 {
			r, err := s.Append(ctx, box, Entry{Payload: []byte(fmt.Sprint(i))})
			if err != nil && !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			refused = refused || err != nil
			offsets = append(offsets, r.Offset)
		}
		got, _ := read(t, s, box, 0)
		if strings.Join(got, " ") != test.want || refused != test.full {
			t.Errorf("policy %d: got %q, refused %v", test.policy, got, refused)
		}
		// What was read makes room.
		s.Ack(User("u"), "u", offsets[1])
		s.storeAcks()
		put(t, s, box, "a", "b")
		if got, _ := read(t, s, box, offsets[1]); !slices.Contains(got, "b") {
			t.Errorf("policy %d: got %q", test.policy, got)
		}
	}
}

func TestBytesLimit(t *testing.T) {
	for _, policy := range []WhenFull{FullDropOldest, FullRefuse} {
		s := open(t, Config{Bytes: 10_000, UserFull: policy})
		box := User("u")
		text := strings.Repeat("x", 997)
		refused, last := 0, uint64(0)
		for i := range 25 {
			r, err := s.Append(ctx, box, Entry{Payload: []byte(fmt.Sprintf("%03d", i) + text)})
			switch {
			case errors.Is(err, ErrFull):
				refused++
			case err != nil:
				t.Fatal(err)
			default:
				last = r.Offset
			}
			if i == 12 {
				s.tails.forget(box) // as if another node had written them
			}
		}
		got, _ := read(t, s, box, 0)
		if n := len(got) * 1000; n > 10_000 || n < 8_000 {
			t.Errorf("policy %d: %d bytes are stored", policy, n)
		}
		if want := 15; policy == FullRefuse && refused != want {
			t.Errorf("refused %d, want %d", refused, want)
		}
		if policy == FullDropOldest && got[len(got)-1][:3] != "024" {
			t.Errorf("the newest is %s", got[len(got)-1][:3])
		}
		s.Ack(User("u"), "u", last)
		s.storeAcks()
		put(t, s, box, text)
		if _, err := s.Append(ctx, box, Entry{Payload: make([]byte, 10_001)}); !errors.Is(err, ErrTooBig) {
			t.Errorf("too big: %v", err)
		}
	}
}

func TestDiskLimit(t *testing.T) {
	for _, policy := range []WhenFull{FullDropOldest, FullRefuse} {
		s := open(t, Config{Disk: 1 << 20, DiskFull: policy})
		payload := make([]byte, 10_000)
		var err error
		for i := 0; i < 200 && err == nil; i++ {
			_, err = s.Append(ctx, User(fmt.Sprint(i)), Entry{Payload: payload})
		}
		if (policy == FullRefuse) != errors.Is(err, ErrFull) {
			t.Errorf("policy %d: %v", policy, err)
		}
	}
}

func TestGap(t *testing.T) {
	s := open(t, Config{Messages: 3})
	box := User("u")
	at := put(t, s, box, "0", "1", "2", "3", "4", "5")
	for _, test := range []struct {
		after uint64
		gap   bool
	}{
		{0, true}, {at[0], true}, {at[1], true}, {at[2], false}, {at[4], false}, {at[5], false},
	} {
		if _, gap := read(t, s, box, test.after); gap != test.gap {
			t.Errorf("behind %d: gap %v", test.after, gap)
		}
	}
	// The link outlives the messages.
	if _, err := s.Purge(ctx, box); err != nil {
		t.Fatal(err)
	}
	put(t, s, box, "6")
	if got, gap := read(t, s, box, at[4]); len(got) != 1 || !gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	if got, gap := read(t, s, box, at[5]); len(got) != 1 || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

func TestGapByAge(t *testing.T) {
	s := open(t, Config{Age: time.Second})
	at := put(t, s, User("u"), "0", "1")
	for deadline := time.Now().Add(10 * time.Second); ; {
		if last, err := s.Last(ctx, User("u")); err != nil {
			t.Fatal(err)
		} else if last == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("does not grow old")
		}
	}
	put(t, s, User("v"), "other")
	if got, gap := read(t, s, User("u"), at[0]); len(got) > 0 || !gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	s.tails.init() // as after a restart
	put(t, s, User("u"), "2")
	if got, gap := read(t, s, User("u"), at[0]); len(got) != 1 || !gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

func TestNothingIsLostByClosing(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(ctx, Config{Dir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	at := put(t, s, User("u"), "0", "1")
	if _, err := s.Append(ctx, User("u"), Entry{ID: "id", Payload: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	s.Ack(User("u"), "u", at[0])
	if _, err := Open(ctx, Config{Dir: dir, Logger: quiet}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	s.Close()
	s = open(t, Config{Dir: dir})
	if acked, _, err := s.Acked(ctx, User("u"), "u"); acked != at[0] || err != nil {
		t.Errorf("acked %d, %v", acked, err)
	}
	r, err := s.Append(ctx, User("u"), Entry{ID: "id", Payload: []byte("2")})
	if err != nil || !r.Duplicate {
		t.Errorf("%+v, %v", r, err)
	}
	put(t, s, User("u"), "3")
	if got, gap := read(t, s, User("u"), at[0]); strings.Join(got, " ") != "1 2 3" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

func TestToken(t *testing.T) {
	for name, want := range map[string]string{"alice": "alice", "a.b": "a=2eb", "=": "=3d", "*>": "=2a=3e", "ü": "=c3=bc", "A-_9": "A-_9"} {
		if got := Token(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
