package load

import (
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"
)

func unusedAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func text(m Message, size int) []byte { return rawFrame(0x81, m.Append(nil, size)) }

// pushed makes the server send frames to connection 0 of two, and returns the result once the client has received want
// messages, including faulty ones.
func pushed(t *testing.T, plan ReceivePlan, next uint32, want int, frames ...[]byte) (ReceiveResult, Faults, []Arrival) {
	t.Helper()
	s := newLiar(t)
	c := newClient(t, s)
	topics := &Topics{Count: 10, Each: 2, Skew: 1}
	c.Dial(DialPlan{Count: 2, Window: 1, Path: "/ws", Limit: 5 * time.Second, Topics: topics})
	var arrivals []Arrival
	r := c.Receive(plan, func(a Arrival) { arrivals = append(arrivals, a) })
	s.push(0, frames...)
	// The last frame is a ping: its answer means that all before it have been read.
	s.push(0, rawFrame(0x89, nil))
	c.Run(func() bool { return c.pings > 0 || c.live < 2 })
	result := r.Finish(next)
	return result, c.Faults(), arrivals
}

func TestReceive(t *testing.T) {
	all := func(seq uint32) []byte { return text(Message{Kind: KindBroadcast, Seq: seq, At: 5}, 64) }
	user := func(target, seq uint32) []byte {
		return text(Message{Kind: KindUser, Target: target, Seq: seq, At: 5}, 64)
	}
	mine := (&Topics{Count: 10, Each: 2, Skew: 1}).Of(0)
	topic := func(topic, seq uint32) []byte {
		return text(Message{Kind: KindTopic, Target: topic, Seq: seq, At: 5}, 64)
	}
	other := uint32(0)
	for other == mine[0] || other == mine[1] {
		other++
	}
	corrupt := all(7)
	corrupt[50] ^= 1
	tests := []struct {
		name     string
		frames   [][]byte
		received int
		faults   Faults // counts only
	}{
		{"pushes", [][]byte{user(0, 0), user(0, 1), topic(mine[0], 0), topic(mine[1], 0), topic(mine[0], 1)}, 5, Faults{}},
		{"with a trailing line feed", [][]byte{rawFrame(0x81, append(Message{Kind: KindUser}.Append(nil, 64), '\n'))}, 1, Faults{}},
		{"lost push", [][]byte{user(0, 1)}, 1, Faults{Lost: 1}},
		{"duplicated push", [][]byte{user(0, 0), user(0, 0)}, 1, Faults{Duplicated: 1}},
		{"reordered pushes", [][]byte{user(0, 1), user(0, 0)}, 2, Faults{Reordered: 1}},
		{"foreign push", [][]byte{user(1, 0)}, 0, Faults{Foreign: 1}},
		{"lost on a topic", [][]byte{topic(mine[0], 2), topic(mine[1], 0)}, 2, Faults{Lost: 2}},
		{"foreign topic", [][]byte{topic(other, 0)}, 0, Faults{Foreign: 1}},
		{"an echo", [][]byte{text(Message{Kind: KindEcho}, 64)}, 0, Faults{Foreign: 1}},
		{"not ours", [][]byte{rawFrame(0x81, []byte("hello"))}, 0, Faults{Corrupt: 1}},
		{"corrupt", [][]byte{corrupt}, 0, Faults{Corrupt: 1}},
		{"wrong size", [][]byte{text(Message{Kind: KindUser}, 70)}, 0, Faults{Corrupt: 1}},
		{"closed", [][]byte{rawFrame(0x88, []byte{3, 233})}, 0, Faults{Closed: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, f, _ := pushed(t, ReceivePlan{Broadcast: 7, Size: 64}, 7, 0, tt.frames...)
			f.First = nil
			if r.Received != tt.received || !equal(f, tt.faults) {
				t.Errorf("%d received, faults %+v; want %d, %+v", r.Received, f, tt.received, tt.faults)
			}
		})
	}
	t.Run("broadcast that misses a connection", func(t *testing.T) {
		_, f, arrivals := pushed(t, ReceivePlan{Broadcast: 7, Size: 64}, 9, 0, all(7), all(8))
		if f.Lost != 2 || len(arrivals) != 0 {
			t.Errorf("faults %+v, arrivals %v", f, arrivals)
		}
	})
	t.Run("measured from a moment on", func(t *testing.T) {
		r, f, _ := pushed(t, ReceivePlan{Size: 64, From: 6}, 0, 0, user(0, 0), text(Message{Kind: KindUser, Seq: 1, At: 6}, 64))
		if f.Err() != nil || r.Received != 2 || r.Measured != 1 || r.Latency.TotalCount() != 1 {
			t.Errorf("%+v, %v", r, f.Err())
		}
	})
}

func equal(a, b Faults) bool {
	return a.Lost == b.Lost && a.Duplicated == b.Duplicated && a.Reordered == b.Reordered && a.Foreign == b.Foreign &&
		a.Corrupt == b.Corrupt && a.Protocol == b.Protocol && a.Closed == b.Closed && a.Refused == b.Refused && a.Late == b.Late
}

func TestBroadcastArrives(t *testing.T) {
	s := newLiar(t)
	c := newClient(t, s)
	dial(t, c, 3)
	var arrivals []Arrival
	r := c.Receive(ReceivePlan{Size: 64}, func(a Arrival) { arrivals = append(arrivals, a) })
	for seq := range uint32(4) {
		for i := range 3 {
			s.push(i, text(Message{Kind: KindBroadcast, Seq: seq}, 64))
		}
	}
	c.Run(func() bool { return len(arrivals) == 4 })
	result := r.Finish(4)
	if f := c.Faults(); f.Err() != nil || result.Received != 12 {
		t.Errorf("%d received: %v", result.Received, f.Err())
	}
	for i, a := range arrivals {
		if a.Seq != uint32(i) || a.At == 0 {
			t.Errorf("arrival %d is %+v", i, a)
		}
	}
}

// The client does not wait for stuck connections, and does not count their messages as lost.
func TestStick(t *testing.T) {
	s := newLiar(t)
	c := newClient(t, s)
	dial(t, c, 10)
	if n := c.Stick(5); n != 2 || c.Live() != 8 {
		t.Fatalf("%d stuck, %d live", n, c.Live())
	}
	arrived := false
	r := c.Receive(ReceivePlan{Size: 64}, func(Arrival) { arrived = true })
	for i := range 10 {
		s.push(i, text(Message{Kind: KindBroadcast}, 64))
	}
	c.Run(func() bool { return arrived })
	if got := r.Finish(1); got.Received != 8 {
		t.Errorf("%d received", got.Received)
	}
	if f := c.Faults(); f.Err() != nil {
		t.Error(f.Err())
	}
}

func TestChurn(t *testing.T) {
	s := newLiar(t)
	c := newClient(t, s)
	r := c.Churn(ChurnPlan{Rate: 400, Hold: 20 * time.Millisecond, Time: 200 * time.Millisecond, Grace: 5 * time.Second, Path: "/ws"})
	if f := c.Faults(); f.Err() != nil || r.Opened != 80 || r.Closed != 80 || c.Live() != 0 {
		t.Errorf("%d opened, %d closed, %d live: %v", r.Opened, r.Closed, c.Live(), f.Err())
	}
	if len(c.conns) > 60 {
		t.Errorf("%d places for connections of which 8 live at a time", len(c.conns))
	}
}

func TestChurnFindsOut(t *testing.T) {
	t.Run("no close frame", func(t *testing.T) {
		s := newLiar(t, func(s *liar) { s.answer = func(byte, []byte) [][]byte { return nil } })
		c := newClient(t, s)
		r := c.Churn(ChurnPlan{Rate: 100, Time: 50 * time.Millisecond, Grace: 5 * time.Second, Path: "/ws"})
		if f := c.Faults(); f.Closed != 5 || r.Closed != 0 {
			t.Errorf("%d closed, faults %+v", r.Closed, f)
		}
	})
	t.Run("refused", func(t *testing.T) {
		s := newLiar(t, func(s *liar) { s.greet = func(string) string { return "HTTP/1.1 503 Service Unavailable\r\n\r\n" } })
		c := newClient(t, s)
		c.Churn(ChurnPlan{Rate: 100, Time: 50 * time.Millisecond, Grace: 5 * time.Second, Path: "/ws"})
		if f := c.Faults(); f.Refused != 5 {
			t.Errorf("faults %+v", f)
		}
	})
}

func TestTopics(t *testing.T) {
	topics := &Topics{Count: 100, Each: 3, Skew: 1}
	again := &Topics{Count: 100, Each: 3, Skew: 1}
	for u := range uint32(200) {
		mine := topics.Of(u)
		if len(mine) != 3 || mine[0] == mine[1] || mine[1] == mine[2] || mine[0] == mine[2] {
			t.Fatalf("user %d: %v", u, mine)
		}
		if topics.Query(u) != again.Query(u) {
			t.Fatalf("user %d: %s, then %s", u, topics.Query(u), again.Query(u))
		}
	}
	n := topics.Subscribers(10_000)
	sum := 0
	for _, c := range n {
		sum += c
	}
	// Zipf: the first of 100 has a weight of 1 of 5.19, and 3 draws without repetition.
	if sum != 30_000 || n[0] < 4000 || n[0] > 6000 || n[0] < 3*n[9] {
		t.Errorf("%d in all, %d of the first, %d of the tenth", sum, n[0], n[9])
	}
	if all := (&Topics{Count: 2, Each: 5}).Of(0); len(all) != 2 {
		t.Errorf("5 of 2 topics: %v", all)
	}
}

// A connection has 112 bytes: 20 for descriptor, slot, generation, user and sent; 8 for the time; three orders of 12; two
// flags; 24 for its topics; 8 for the pointer to its part; and padding.
func TestConnSize(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 112 {
		t.Errorf("%d bytes per connection", n)
	}
}
