package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

var ctx = context.Background()

func TestOrderAndPages(t *testing.T) {
	s := open(t, Config{})
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprint(i))
	}
	a, b := user("a.b *>/ü"), user("a_b")
	for _, text := range want {
		put(t, s, a, text)
		put(t, s, b, "other "+text)
	}
	if got, gap := read(t, s, a, 0); !slices.Equal(got, want) || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	if got, _ := read(t, s, user("without messages"), 0); len(got) > 0 {
		t.Errorf("a user without messages has %q", got)
	}
}

func TestOrderOfConcurrentAppends(t *testing.T) {
	s := open(t, Config{})
	box := user("u")
	var all sync.WaitGroup
	var want []string
	for i := range 200 {
		text := fmt.Sprint(i)
		want = append(want, text)
		p := s.Begin(box, store.Entry{Payload: []byte(text)})
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

// TestCancelledAppend: an append that is given up while it waits keeps
// the order of the others.
func TestCancelledAppend(t *testing.T) {
	s := open(t, Config{})
	box := user("u")
	first := s.Begin(box, store.Entry{Payload: []byte("1")})
	second := s.Begin(box, store.Entry{Payload: []byte("2")})
	third := s.Begin(box, store.Entry{Payload: []byte("3")})
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := second.Finish(cancelled); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := third.Finish(ctx)
		done <- err
	}()
	if _, err := first.Finish(ctx); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got, _ := read(t, s, box, 0); strings.Join(got, " ") != "1 3" {
		t.Errorf("got %q", got)
	}
}

// TestLongQueue: a user's queue that takes longer than Timeout is not an outage, if each
// append is answered in time. Without an answer it is one after Timeout.
func TestLongQueue(t *testing.T) {
	const timeout = time.Second
	for name, answers := range map[string]int{"seven answers": 7, "none": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Store{cfg: Config{Timeout: timeout}, now: time.Now}
				before := make(chan struct{})
				p := &pending{store: s, begun: time.Now(), place: place{before: before}}
				done := make(chan error, 1)
				go func() { done <- p.awaitTurn(t.Context()) }()
				for range answers {
					time.Sleep(timeout / 2)
					s.answered.Store(time.Now().UnixNano())
				}
				if answers > 0 {
					close(before)
					if err := <-done; err != nil {
						t.Errorf("after %v: %v", time.Since(p.begun), err)
					}
					return
				}
				if err := <-done; !errors.Is(err, context.DeadlineExceeded) || time.Since(p.begun) != timeout {
					t.Errorf("after %v: %v", time.Since(p.begun), err)
				}
			})
		})
	}
}

// TestStalledQueue: without an answer to any append, all that wait in a queue fail after
// Timeout, not after one Timeout each.
func TestStalledQueue(t *testing.T) {
	const timeout = time.Second
	synctest.Test(t, func(t *testing.T) {
		s := &Store{cfg: Config{Timeout: timeout}, now: time.Now}
		began := time.Now()
		var queue sync.WaitGroup
		for range 3 {
			p := &pending{store: s, begun: began, place: place{before: make(chan struct{})}}
			queue.Go(func() {
				if err := p.awaitTurn(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != timeout {
					t.Errorf("got %v after %v", err, time.Since(began))
				}
			})
		}
		queue.Wait()
	})
}

// TestContention: several stores that append to one box all get through, and the
// links are right.
func TestContention(t *testing.T) {
	url := outside(t, natsserver.Options{})
	const stores, each = 8, 10
	var all sync.WaitGroup
	for i := range stores {
		s := open(t, Config{URL: url, Timeout: time.Minute})
		all.Go(func() {
			for n := range each {
				if _, err := add(s, user("u"), store.Entry{Payload: fmt.Appendf(nil, "%d %d", i, n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s := open(t, Config{URL: url})
	got, gap := read(t, s, user("u"), 0)
	if len(got) != stores*each || gap {
		t.Errorf("%d messages, gap %v", len(got), gap)
	}
	for i := range stores {
		var own []string
		for _, text := range got {
			if strings.HasPrefix(text, fmt.Sprint(i, " ")) {
				own = append(own, text)
			}
		}
		if !slices.IsSorted(own) {
			t.Errorf("store %d: %q", i, own)
		}
	}
}

func TestSameIDIsStoredOnce(t *testing.T) {
	s := open(t, Config{})
	box := user("u")
	var first store.Receipt
	for i := range 3 {
		r, err := add(s, box, store.Entry{ID: "order 7", Payload: []byte("x")})
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
	if r, err := add(s, user("other"), store.Entry{ID: "order 7", Payload: []byte("x")}); err != nil || r.Duplicate {
		t.Errorf("another user's message with the same ID: %+v, %v", r, err)
	}
}

func TestMessage(t *testing.T) {
	s := open(t, Config{})
	box := user("u")
	before := time.Now().Truncate(time.Millisecond)
	r, err := add(s, box, store.Entry{Binary: true, TTL: time.Hour, Payload: []byte{0, 1, 0xff}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Read(ctx, box, 0, 1<<20)
	if err != nil || len(p.Messages) != 1 {
		t.Fatal(p, err)
	}
	m := p.Messages[0]
	if m.Offset != r.Offset || !m.Binary || string(m.Payload) != "\x00\x01\xff" || m.Stored.Before(before) ||
		m.Expires.Before(before.Add(time.Hour)) || m.Expired(before) || !m.Expired(m.Expires) {
		t.Errorf("%+v", m)
	}
}

func TestMessagesLimit(t *testing.T) {
	for _, test := range []struct {
		policy WhenFull
		want   string
		full   bool
	}{
		{FullDropOldest, "3 4 5", false},
		{FullReject, "0 1 2", true},
	} {
		s := open(t, Config{Messages: 3, UserFull: test.policy})
		box := user("u")
		var offsets []uint64
		rejected := false
		for i := range 6 {
			r, err := add(s, box, store.Entry{Payload: []byte(fmt.Sprint(i))})
			if err != nil && !errors.Is(err, store.ErrFull) {
				t.Fatal(err)
			}
			rejected = rejected || err != nil
			offsets = append(offsets, r.Offset)
		}
		got, _ := read(t, s, box, 0)
		if strings.Join(got, " ") != test.want || rejected != test.full {
			t.Errorf("policy %d: got %q, rejected %v", test.policy, got, rejected)
		}
		// Acknowledged messages make room.
		if err := s.AckSync(ctx, box, "u", offsets[1]); err != nil {
			t.Fatal(err)
		}
		put(t, s, box, "a", "b")
		if got, _ := read(t, s, box, offsets[1]); !slices.Contains(got, "b") {
			t.Errorf("policy %d: got %q", test.policy, got)
		}
	}
}

func TestBytesLimit(t *testing.T) {
	for _, policy := range []WhenFull{FullDropOldest, FullReject} {
		s := open(t, Config{Bytes: 10_000, UserFull: policy})
		box := user("u")
		text := strings.Repeat("x", 997)
		rejected, last := 0, uint64(0)
		for i := range 25 {
			r, err := add(s, box, store.Entry{Payload: []byte(fmt.Sprintf("%03d", i) + text)})
			switch {
			case errors.Is(err, store.ErrFull):
				rejected++
			case err != nil:
				t.Fatal(err)
			default:
				last = r.Offset
			}
			if i == 12 {
				s.tails.forget(subject.Of(box)) // as if another node had written them
			}
		}
		got, _ := read(t, s, box, 0)
		if n := len(got) * 1000; n > 10_000 || n < 8_000 {
			t.Errorf("policy %d: %d bytes are stored", policy, n)
		}
		if want := 15; policy == FullReject && rejected != want {
			t.Errorf("rejected %d, want %d", rejected, want)
		}
		if policy == FullDropOldest && got[len(got)-1][:3] != "024" {
			t.Errorf("the newest is %s", got[len(got)-1][:3])
		}
		if err := s.AckSync(ctx, box, "u", last); err != nil {
			t.Fatal(err)
		}
		put(t, s, box, text)
		if _, err := add(s, box, store.Entry{Payload: make([]byte, 10_001)}); !errors.Is(err, store.ErrTooBig) {
			t.Errorf("too big: %v", err)
		}
	}
}

func TestDiskLimit(t *testing.T) {
	for _, policy := range []WhenFull{FullDropOldest, FullReject} {
		s := open(t, Config{Disk: 1 << 20, DiskFull: policy})
		payload := make([]byte, 10_000)
		var err error
		for i := 0; i < 200 && err == nil; i++ {
			_, err = add(s, user(fmt.Sprint(i)), store.Entry{Payload: payload})
		}
		if (policy == FullReject) != errors.Is(err, store.ErrFull) {
			t.Errorf("policy %d: %v", policy, err)
		}
	}
}

// TestIDReused: an ID that was used for another message is an error while that message is stored.
func TestIDReused(t *testing.T) {
	for name, cfg := range map[string]Config{"embedded": {}, "outside": {URL: outside(t, natsserver.Options{})}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, cfg)
			first, err := add(s, user("u"), store.Entry{ID: "7", Payload: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
			for _, test := range []struct {
				box   store.Box
				entry store.Entry
				want  error
			}{
				{user("u"), store.Entry{ID: "7", Payload: []byte("x")}, nil},
				{user("u"), store.Entry{ID: "7", Payload: []byte("x"), TTL: time.Hour}, nil},
				{user("u"), store.Entry{ID: "7", Payload: []byte("y")}, store.ErrIDReused},
				{user("u"), store.Entry{ID: "7"}, store.ErrIDReused},
				{user("u"), store.Entry{ID: "7", Payload: []byte("x"), Binary: true}, store.ErrIDReused},
			} {
				r, err := add(s, test.box, test.entry)
				if !errors.Is(err, test.want) || err == nil && (!r.Duplicate || r.Offset != first.Offset) {
					t.Errorf("%+v: %+v, %v, want %v", test.entry, r, err, test.want)
				}
			}
			if _, err := add(s, topic("u"), store.Entry{ID: "7", Payload: []byte("y")}); err != nil {
				t.Errorf("another box: %v", err)
			}
			if got, _ := read(t, s, user("u"), 0); len(got) != 1 || s.Stats().Duplicates != 2 {
				t.Errorf("%q are stored, %d duplicates", got, s.Stats().Duplicates)
			}
			if _, err := s.Purge(ctx, user("u")); err != nil {
				t.Fatal(err)
			}
			if r, err := add(s, user("u"), store.Entry{ID: "7", Payload: []byte("y")}); err != nil || !r.Duplicate {
				t.Errorf("when it is deleted: %+v, %v", r, err)
			}
		})
	}
}

// TestLongTTL: a message that is to be delivered for longer than it is stored is rejected.
func TestLongTTL(t *testing.T) {
	s := open(t, Config{Age: time.Hour})
	for ttl, want := range map[time.Duration]error{time.Hour: nil, time.Hour + 1: store.ErrTTL} {
		if _, err := add(s, user("u"), store.Entry{TTL: ttl}); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", ttl, err, want)
		}
	}
}
