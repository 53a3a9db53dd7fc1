package inbox

import (
	"bytes"
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox/internal/publisher"
	"fanfare/server/inbox/internal/subject"
)

// countingConn counts messages that are published.
type countingConn struct {
	net.Conn
	published *atomic.Uint64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.published.Add(uint64(bytes.Count(b, []byte("HPUB "))))
	return c.Conn.Write(b)
}

// countRequests counts messages to JetStream, those that are published to one stream included.
func (s *testStore) countRequests(k subject.Kind) func() uint64 {
	var published atomic.Uint64
	s.local.publishers[k] = publisher.New(func() (net.Conn, error) {
		nc, err := s.local.InProcessConn()
		return countingConn{nc, &published}, err
	}, s.cfg.Timeout)
	return func() uint64 { return s.link.Load().nc.Stats().OutMsgs + published.Load() }
}

// TestAppendAsksOnce: an embedded store stores a message with one request to JetStream, the first one
// of a user and each that follows; after a restart it asks where the box ends.
func TestAppendAsksOnce(t *testing.T) {
	dir := t.TempDir()
	for round, want := range []uint64{1, 2} {
		s := open(t, Config{Dir: dir})
		requests := s.countRequests(subject.Inbox)
		for i := range 3 {
			before := requests()
			put(t, s, user("u"), "x")
			if n := requests() - before; n != want {
				t.Errorf("round %d, message %d: %d requests, want %d", round, i, n, want)
			}
			want = 1
		}
		if got, gap := read(t, s, user("u"), 0); len(got) != 3*(round+1) || gap {
			t.Errorf("round %d: %q, gap %v", round, got, gap)
		}
		s.close()
	}
}

// TestAckAsksOnce: an embedded store writes the position of a user with one request to
// JetStream, the first one and each that follows.
func TestAckAsksOnce(t *testing.T) {
	s := open(t, Config{})
	requests := s.countRequests(subject.Ack)
	for offset := uint64(1); offset <= 3; offset++ {
		before := requests()
		if err := s.AckSync(ctx, user("u"), "u", offset); err != nil {
			t.Fatal(err)
		}
		if n := requests() - before; n != 1 {
			t.Errorf("offset %d: %d requests, want 1", offset, n)
		}
	}
	if at, known, err := s.Acked(ctx, user("u"), "u"); at != 3 || !known || err != nil {
		t.Errorf("%d, %v, %v", at, known, err)
	}
}

// TestAckAfterAnotherNode: a position that another node has stored meanwhile is not replaced
// by an earlier one.
func TestAckAfterAnotherNode(t *testing.T) {
	url := outside(t, natsserver.Options{})
	a, b := open(t, Config{URL: url}), open(t, Config{URL: url})
	for i, step := range []struct {
		by     *testStore
		offset uint64
		want   uint64
	}{{a, 1, 1}, {b, 5, 5}, {a, 3, 5}, {a, 9, 9}, {b, 7, 9}, {b, 10, 10}, {a, 11, 11}} {
		if err := step.by.AckSync(ctx, user("u"), "u", step.offset); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*testStore{a, b} {
			if at, known, err := s.Acked(ctx, user("u"), "u"); at != step.want || !known || err != nil {
				t.Fatalf("step %d: %d, %v, %v, want %d", i, at, known, err, step.want)
			}
		}
	}
}

func TestRecentPositionsAreBounded(t *testing.T) {
	var r recentPositions
	for i := range mostRecent + 10 {
		name := strconv.Itoa(i)
		r.put(name, storedPosition{offset: 5, at: "7"})
		for _, test := range []struct {
			offset uint64
			want   bool
		}{{4, false}, {5, false}, {6, true}} {
			if stored, ok := r.newest(name, position{offset: test.offset}); ok != test.want || stored.at != "7" {
				t.Fatalf("%s, %d: %+v, %v", name, test.offset, stored, ok)
			}
		}
	}
	if n := len(r.byName); n != mostRecent {
		t.Errorf("%d entries", n)
	}
}
