package replay

import (
	"errors"
	"strings"
	"testing"
)

// TestDroppedPing: a message and its ping wait in the queue, a live message
// overflows it, and both are dropped. Nothing acknowledges the message.
func TestDroppedPing(t *testing.T) {
	g := newRig(t)
	r := g.connect("alice", AckByPong)
	r.kernelMax = 1
	g.live(r, "fills the kernel")
	first := g.push(inboxOf("alice"), "durable", r)
	g.work()
	if len(r.queue) != 2 {
		t.Fatalf("queued %v", r.queue)
	}
	ping := r.queue[1]
	for r.phase == Open {
		g.live(r, strings.Repeat("l", 100))
	}
	// A client or a proxy answers a ping that it never received.
	if g.Pong(r, []byte(ping.text)) {
		t.Error("a pong after messages were discarded acknowledges them")
	}
	g.wantAcked(inboxOf("alice"), "alice", -1)
	g.close(r, 0)
	r = g.connect("alice", AckByPong)
	g.want(r, true, "durable")
	g.wantAcked(inboxOf("alice"), "alice", int(first))
}

// TestPongAcknowledgesWhatPrecedesIt: not what was written after the ping.
func TestPongAcknowledgesWhatPrecedesIt(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	r := g.connect("alice", AckByPong)
	g.push(b, "1", r)
	g.work()
	g.push(b, "2", r)
	var pings []string
	for w := r.read(); w != nil; w = r.read() {
		if w.kind == "ping" {
			pings = append(pings, w.text)
		}
	}
	if len(pings) != 1 {
		t.Fatalf("pings %q", pings)
	}
	g.Pong(r, []byte(pings[0]))
	g.wantAcked(b, "alice", 1)
	if g.Pong(r, []byte(pings[0])) {
		t.Error("a pong counts twice")
	}
	g.wantAcked(b, "alice", 1)
	g.want(r, true)
	g.wantAcked(b, "alice", 2)
	// The session is closed in order: a pong still counts.
	g.push(b, "3", r)
	r.phase = Ended
	g.take(r, true)
	g.wantAcked(b, "alice", 3)
	g.close(r, 0)
	// A ping of an earlier session is not that of a later one.
	g.store.append(b, "4", 0)
	r = g.connect("alice", AckByPong)
	if g.Pong(r, []byte(pings[0])) {
		t.Error("a pong to an earlier session")
	}
	g.wantAcked(b, "alice", 3)
}

func TestAckNone(t *testing.T) {
	g := newRig(t)
	var want []string
	for i := range 30 {
		want = append(want, strings.Repeat("x", 100)+string(rune('A'+i)))
		g.store.append(inboxOf("alice"), want[i], 0)
	}
	for range 2 {
		r := g.connect("alice", AckNone)
		g.want(r, true, want...)
		g.wantAcked(inboxOf("alice"), "alice", -1)
		g.close(r, 0)
	}
}

// TestWrongPongs: a client whose pongs do not carry the payload gets everything,
// and acknowledges nothing.
func TestWrongPongs(t *testing.T) {
	for _, payload := range []string{"", "hello", "0", "18446744073709551615", "99999999999999999999", "01"} {
		g := newRig(t)
		var want []string
		for i := range 30 {
			want = append(want, strings.Repeat("x", 100)+string(rune('A'+i)))
			g.store.append(inboxOf("alice"), want[i], 0)
		}
		r := g.receiver("alice", AckByPong)
		r.kernelMax = 2
		g.open(r, Start{})
		g.work()
		var got []string
		pings := 0
		for range 80 {
			w := r.read()
			switch {
			case w == nil:
				g.run()
			case w.kind == "ping":
				pings++
				if g.Pong(r, []byte(payload)) {
					t.Errorf("%q is an answer", payload)
				}
				g.work()
			default:
				got = append(got, w.text)
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%q: got %d messages, want %d", payload, len(got), len(want))
		}
		if n := g.Stats().Unanswered; n != 1 || pings != wrongPongs {
			t.Errorf("%q: counted %d times, %d pings", payload, n, pings)
		}
		g.wantAcked(inboxOf("alice"), "alice", -1)
		// It learns to answer.
		s := g.find(r)
		g.Pong(r, []byte(itoa(s.ping.serial)))
		g.work()
		g.take(r, true)
		g.wantAcked(inboxOf("alice"), "alice", 30)
	}
}

// TestCrossingPongs: heartbeats and unsolicited pongs cross a ping, and a client
// may answer the latest ping only (RFC 6455, 5.5.3).
func TestCrossingPongs(t *testing.T) {
	g := newRig(t)
	r := g.connect("alice", AckByPong)
	var late []byte
	for i := range 50 {
		g.push(inboxOf("alice"), "x", r)
		g.work()
		pings := 0
		for w := r.read(); w != nil; w = r.read() {
			if w.kind != "ping" {
				continue
			}
			if pings++; pings == 1 {
				for i := 0; i < 5 && late != nil; i++ {
					g.Pong(r, late) // the second answer to the ping before
				}
				g.Pong(r, nil) // the heartbeat's
				continue
			}
			late = []byte(w.text)
			g.Pong(r, late)
		}
		if pings != 2 {
			t.Fatalf("%d pings", pings)
		}
		g.wantAcked(inboxOf("alice"), "alice", i+1)
	}
	if n := g.Stats().Unanswered; n != 0 {
		t.Errorf("counted %d times", n)
	}
}

// TestExplicitAck compares with what was sent, not with what is stored.
func TestExplicitAck(t *testing.T) {
	g := newRig(t)
	b := inboxOf("alice")
	var large []string
	for i := range 20 {
		large = append(large, strings.Repeat("x", 100)+string(rune('A'+i)))
		g.store.append(b, large[i], 0)
	}
	r := g.receiver("alice", AckExplicit)
	g.open(r, Start{}, "news")
	if err := g.Ack(r, "", "e1", 1); !errors.Is(err, ErrNotSent) {
		t.Errorf("before the store was asked: %v", err)
	}
	g.work()
	sent := g.find(r).inbox.sent
	for _, test := range []struct {
		topic, epoch string
		offset       uint64
		want         error
		acked        int
	}{
		{"", "e1", sent + 1, ErrNotSent, -1},
		{"", "e1", 20, ErrNotSent, -1},
		{"", "", 1, ErrEpoch, -1},
		{"", "e2", 1, ErrEpoch, -1},
		{"sports", "e1", 1, ErrNotSubscribed, -1},
		{"", "e1", 2, nil, 2},
		{"", "e1", 1, nil, 2},
		{"", "e1", sent, nil, int(sent)},
	} {
		if err := g.Ack(r, test.topic, test.epoch, test.offset); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test, err)
		}
		g.wantAcked(b, "alice", test.acked)
	}
	// Pongs open the window and acknowledge nothing.
	g.take(r, true)
	g.wantAcked(b, "alice", int(sent))
	if err := g.Ack(r, "", "e1", 20); err != nil {
		t.Error(err)
	}
	if err := g.Ack(r, "", "e1", 21); !errors.Is(err, ErrNotSent) {
		t.Error(err)
	}
	g.close(r, 0)
	if err := g.Ack(r, "", "e1", 20); !errors.Is(err, ErrNotSubscribed) {
		t.Errorf("after the end: %v", err)
	}
}

// TestAckDuringOutage: it is stored when the store is back.
func TestAckDuringOutage(t *testing.T) {
	for _, mode := range []AckMode{AckByPong, AckExplicit} {
		g := newRig(t)
		b := inboxOf("alice")
		g.store.append(b, "1", 0)
		r := g.connect("alice", mode)
		g.store.setDown(true)
		g.take(r, true)
		g.Ack(r, "", "e1", 1)
		g.run()
		g.wantAcked(b, "alice", -1)
		g.store.setDown(false)
		g.run()
		g.wantAcked(b, "alice", 1)
	}
}
