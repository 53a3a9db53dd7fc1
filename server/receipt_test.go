package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
	"fanfare/server/internal/receipt"
)

func withReceipt(t testing.TB, text, conflate string) *Message {
	t.Helper()
	m, err := NewMessageWith(Text, []byte(text), MessageOptions{Receipt: true, Conflate: conflate})
	if err != nil || m.Receipt() == "" {
		t.Fatalf("receipt %q, %v", m.Receipt(), err)
	}
	return m
}

// pinged reads a message and the ping of its receipt, and returns the payload of that.
func (c *client) pinged(text string) string {
	c.t.Helper()
	c.want(Text, text)
	op, payload, err := c.frame()
	if err != nil || op != ws.OpPing || !receipt.IsPing(payload) {
		c.t.Fatalf("after the message: %x %q, %v", op, payload, err)
	}
	return string(payload)
}

// awaitReceipt waits for a number of confirmations.
func awaitReceipt(t testing.TB, srv *Server, m *Message, confirmed int) (r Receipt) {
	t.Helper()
	await(t, "pongs are counted", func() bool {
		var err error
		if r, err = srv.Receipt(t.Context(), m.Receipt()); err != nil || r.Confirmed > confirmed {
			t.Fatalf("%+v, %v", r, err)
		}
		return r.Confirmed == confirmed
	})
	return r
}

// Every way to send asks for pongs, each of which counts once.
func TestReceipt(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv, h := startStopped(t, Config{Transport: transport})
		a, b := dial(t, srv, "/ws?user=a&topic=t"), dial(t, srv, "/ws?user=b&topic=t")
		for name, way := range map[string]struct {
			send      func(m *Message) (Delivery, error)
			receivers int
		}{
			"push":      {func(m *Message) (Delivery, error) { return srv.Push(t.Context(), "a", m) }, 1},
			"publish":   {func(m *Message) (Delivery, error) { return srv.Publish(t.Context(), "t", m) }, 2},
			"broadcast": {func(m *Message) (Delivery, error) { return srv.Broadcast(t.Context(), m) }, 2},
			"many": {func(m *Message) (Delivery, error) {
				return srv.PushMany(t.Context(), []string{"a"}, []string{"t"}, m)
			}, 2},
			"session": {func(m *Message) (Delivery, error) { return Delivery{Receivers: 1}, only(t, srv, "a").SendMessage(m) }, 1},
		} {
			m := withReceipt(t, name, "")
			if d, err := way.send(m); err != nil || d.Receivers != way.receivers {
				t.Fatalf("%s: %+v, %v", name, d, err)
			}
			ping := a.pinged(name)
			h.now.Add(int64(20 * time.Millisecond))
			a.send(ws.OpPong, ping)
			a.send(ws.OpPong, ping)
			if way.receivers == 2 {
				b.pinged(name)
				b.send(ws.OpPong, ping) // that of the other one
			}
			r := awaitReceipt(t, srv, m, 1)
			if r.Written != way.receivers || r.Silent != 0 || r.Final || r.P50 < 20*time.Millisecond || r.P99 > 22*time.Millisecond {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if n, p := srv.Stats().ReceiptPings, srv.Stats().ReceiptPongs; n != 8 || p != 5 {
			t.Errorf("%d pings and %d pongs were counted", n, p)
		}
	})
}

// A receipt without a receiver is found, one that nobody has is an error, and pongs that come
// too late do not count.
func TestReceiptEnds(t *testing.T) {
	srv, h := startStopped(t, Config{})
	nobody := withReceipt(t, "x", "")
	if d, err := srv.Push(t.Context(), "nobody", nobody); err != nil || d.Receivers != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	if r, err := srv.Receipt(t.Context(), nobody.Receipt()); err != nil || r.Written != 0 || r.P50 != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, id := range []string{"", "x", strings.Repeat("A", 26)} {
		if _, err := srv.Receipt(t.Context(), id); !errors.Is(err, ErrNoReceipt) {
			t.Errorf("%q: %v", id, err)
		}
	}
	c := dial(t, srv, "/ws?user=a")
	m := withReceipt(t, "x", "")
	srv.Push(t.Context(), "a", m)
	ping := c.pinged("x")
	h.now.Add(int64(receipt.Window))
	srv.receipts.Sweep(srv.now())
	c.send(ws.OpPong, ping)
	c.send(ws.OpPing, "answered after that")
	c.want(ws.OpPong, "answered after that")
	if r, err := srv.Receipt(t.Context(), m.Receipt()); err != nil || r.Confirmed != 0 || r.Written != 1 || !r.Final {
		t.Errorf("%+v, %v", r, err)
	}
	h.now.Add(int64(receipt.Keep))
	srv.receipts.Sweep(srv.now())
	if _, err := srv.Receipt(t.Context(), m.Receipt()); !errors.Is(err, ErrNoReceipt) {
		t.Errorf("after that: %v", err)
	}
}

// What replaces or drops the message in a queue does so with its ping, so that the pong of a
// client never confirms what it has not received.
func TestReceiptOfReplacedMessage(t *testing.T) {
	srv := start(t, Config{})
	c := dial(t, srv, "/ws?user=u&topic=t")
	fillQueue(t, srv, "t")
	old, lost, newest := withReceipt(t, "old", "k"), withReceipt(t, "lost", ""), withReceipt(t, "new", "k")
	for _, m := range []*Message{old, lost, newest} {
		if d, err := srv.Publish(t.Context(), "t", m); err != nil || d.Receivers != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	var pings []string
	for {
		op, payload, err := c.frame()
		if err != nil {
			t.Fatal(err)
		}
		if op == ws.OpPing {
			pings = append(pings, string(payload))
		}
		if string(payload) == "lost" {
			break
		}
	}
	c.send(ws.OpPong, pings[0])
	if r := awaitReceipt(t, srv, newest, 1); r.Written != 1 || len(pings) != 1 {
		t.Errorf("%+v, %d pings before the last message", r, len(pings))
	}
	for _, m := range []*Message{old, lost} {
		if r := awaitReceipt(t, srv, m, 0); r.Written != 1 {
			t.Errorf("%s: %+v", m.Payload(), r)
		}
	}
}

// Each node counts its own sessions, and the one that is asked adds them up.
func TestReceiptInCluster(t *testing.T) {
	cluster := newFakeClusters(2)
	a, b := start(t, Config{Cluster: cluster[0]}), start(t, Config{Cluster: cluster[1]})
	for _, srv := range []*Server{a, b} {
		c := dial(t, srv, "/ws?user=u")
		m := withReceipt(t, "x", "")
		if d, err := a.Push(t.Context(), "u", m); err != nil || d.Receivers == 0 {
			t.Fatalf("%+v, %v", d, err)
		}
		c.send(ws.OpPong, c.pinged("x"))
		for _, asked := range []*Server{a, b} {
			if r := awaitReceipt(t, asked, m, 1); r.Written == 0 || r.P99 == 0 || !r.Complete() {
				t.Errorf("%+v", r)
			}
		}
	}
	cluster[0].set(func(f *fakeCluster) { f.missing = 1 })
	if r, err := a.Receipt(t.Context(), strings.Repeat("A", 26)); !errors.Is(err, ErrNoReceipt) || r.Complete() {
		t.Errorf("%+v, %v", r, err)
	}
}

// Pongs of receipts do not acknowledge stored messages, nor are they taken for wrong answers.
func TestReceiptAndStoredMessages(t *testing.T) {
	srv := start(t, withInbox(t))
	c := dial(t, srv, "/ws?user=a")
	st := pushDurable(t, srv, "a", "stored")
	c.want(Text, "stored")
	_, serial, err := c.frame()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // more than the wrong answers that are forgiven
		m := withReceipt(t, "live", "")
		srv.Push(t.Context(), "a", m)
		c.send(ws.OpPong, c.pinged("live"))
		awaitReceipt(t, srv, m, 1)
	}
	c.send(ws.OpPong, string(serial))
	acked(t, srv, "a", st.Offset)
	if n := srv.Stats().Replay.Unanswered; n != 0 {
		t.Errorf("%d sessions count as not answering", n)
	}
}
