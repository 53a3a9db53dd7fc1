package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"fanfare/netpoll"
)

const half = 500 * time.Millisecond

// rated returns a message that is named by what precedes "=".
func rated(t testing.TB, text string, interval time.Duration) *Message {
	t.Helper()
	name, _, _ := strings.Cut(text, "=")
	m, err := NewMessageWith(Text, []byte(text), MessageOptions{Conflate: name, Interval: interval})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pushRated pushes messages to the one session of a user.
func pushRated(t testing.TB, srv *Server, user string, interval time.Duration, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if d, err := srv.Push(t.Context(), user, rated(t, text, interval)); err != nil || d.Receivers != 1 {
			t.Fatalf("%s: %+v, %v", text, d, err)
		}
	}
}

// step lets time go by; what is due at a tick is sent before the next one.
func (h *manualClock) step(t testing.TB, d time.Duration) {
	t.Helper()
	for range d / tick {
		h.pass(tick)
		await(t, "due messages are sent", func() bool { return !h.clock.srv.stepping.Load() })
	}
}

// However a message is sent, and whatever the session speaks, the first of a name is sent at
// once, and the newest when its time has come.
func TestInterval(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv, h := startStopped(t, Config{Transport: transport, Endpoints: []Endpoint{compressing(PushEndpoint("/ws"))}})
		h.step(t, 3*tick)
		plain := dial(t, srv, "/ws?user=a&topic=t")
		deflated := dial(t, srv, "/ws?user=b&topic=t", "Sec-WebSocket-Extensions: permessage-deflate")
		v1 := dial(t, srv, "/ws?user=c&topic=t", "Sec-WebSocket-Protocol: fanfare.v1")
		v1.next() // hello
		for i, send := range []func(m *Message) (Delivery, error){
			func(m *Message) (Delivery, error) { return srv.Publish(t.Context(), "t", m) },
			func(m *Message) (Delivery, error) { return srv.Broadcast(t.Context(), m) },
			func(m *Message) (Delivery, error) {
				return srv.PushMany(t.Context(), []string{"a"}, []string{"t"}, m)
			},
			func(m *Message) (Delivery, error) {
				d, _ := srv.Push(t.Context(), "a", m)
				e, _ := srv.Push(t.Context(), "b", m)
				return Delivery{Receivers: d.Receivers + e.Receivers + 1}, only(t, srv, "c").SendMessage(m)
			},
		} {
			name, rest := fmt.Sprint("name", i), strings.Repeat("x", 2000) // which is compressed
			for n := range 4 {
				if d, err := send(rated(t, fmt.Sprint(name, "=", n, rest), half)); err != nil || d.Receivers != 3 {
					t.Fatalf("%s: %+v, %v", name, d, err)
				}
			}
			for n, want := range []string{name + "=0" + rest, name + "=3" + rest} {
				plain.want(Text, want)
				if b, compressed := deflated.inflated(); string(b) != want || !compressed {
					t.Errorf("got %.20q, compressed %v, want %.20q", b, compressed, want)
				}
				if got := v1.next(); !strings.Contains(got, want) {
					t.Errorf("got %.40s, want %.20q", got, want)
				}
				if n == 0 {
					h.step(t, half-tick)
					if st := srv.Stats(); st.RatedWaiting != 3 || st.Conflated != int64(6*i+6) {
						t.Errorf("%d messages wait, %d were replaced", st.RatedWaiting, st.Conflated)
					}
					h.step(t, tick)
				}
			}
		}
		h.step(t, half)
		if n := srv.rated.Len(); n != 0 || srv.Stats().RatedWaiting != 0 || srv.Stats().RatedEarly != 0 {
			t.Errorf("%d slots are left", n)
		}
	})
}

// What waits is sent before a session is closed, in order, and counted as dropped if its client
// closes, or reads nothing.
func TestIntervalEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end     func(srv *Server, c *client)
		sent    bool
		dropped int64
	}{
		"Close":  {func(srv *Server, c *client) { only(c.t, srv, "a").Close(StatusNormalClosure, "") }, true, 0},
		"Drain":  {func(srv *Server, c *client) { go srv.Drain(context.Background()) }, true, 0},
		"client": {func(srv *Server, c *client) { c.send(8, "\x03\xe8") }, false, 2},
		"reset":  {func(srv *Server, c *client) { c.reset() }, false, 2},
		"slow":   {func(srv *Server, c *client) { only(c.t, srv, "a").end(StatusTryAgainLater, "too slow", true) }, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			srv, h := startStopped(t, Config{})
			c := dial(t, srv, "/ws?user=a")
			pushRated(t, srv, "a", time.Hour, "x=1", "y=1", "y=2", "x=2", "y=3")
			c.want(Text, "x=1")
			c.want(Text, "y=1")
			test.end(srv, c)
			if test.sent {
				c.want(Text, "y=3")
				c.want(Text, "x=2")
			}
			if name != "reset" {
				if _, _, err := c.frame(); err != nil { // the close frame
					t.Error(err)
				}
			}
			c.Close()
			await(t, "end", func() bool { return srv.connections.Load() == 0 })
			if n := srv.Stats().Dropped["ending"]; n != test.dropped || srv.rated.Len() != 0 || srv.Stats().RatedWaiting != 0 {
				t.Errorf("%d dropped, %d slots, %d waiting", n, srv.rated.Len(), srv.Stats().RatedWaiting)
			}
			h.step(t, tick)
		})
	}
}

// At its time a message is one for a slow client like any other: it takes the place of an older
// one in the queue, and a full queue may close the session.
func TestIntervalOfSlowClient(t *testing.T) {
	srv, h := startStopped(t, Config{})
	dial(t, srv, "/ws?user=a&topic=t")
	fillQueue(t, srv, "t")
	for i := range 4 {
		if d, err := srv.Publish(t.Context(), "t", rated(t, fmt.Sprint("x=", i), half)); err != nil || d.Receivers != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
		h.step(t, half)
	}
	if n := srv.Stats().Conflated; n != 3 {
		t.Errorf("%d messages replaced in the queue, want 3", n)
	}
	dial(t, srv, "/ws?user=b")
	filler := make([]byte, 10<<10)
	pushRated(t, srv, "b", half, "y=1", "y="+string(filler))
	for s := only(t, srv, "b"); s.Queued() < 55<<10; { // of 64 KiB
		push(srv, "b", Binary, filler[:2<<10])
	}
	h.step(t, half)
	if srv.stats.Slow.Load() != 1 || srv.rated.Len() != 0 {
		t.Errorf("%d sessions were closed as slow, %d slots", srv.stats.Slow.Load(), srv.rated.Len())
	}
}

// An upgrade sends what waits, and the other process knows nothing of it. During a handover the
// intervals of pushes hold in both processes.
func TestIntervalHandOver(t *testing.T) {
	linuxOnly(t)
	from := start(t, Config{})
	c := dial(t, from, "/ws?user=a")
	pushRated(t, from, "a", time.Hour, "x=1", "y=1", "y=2", "x=2", "x=3")
	to := successor(t, from, Config{})
	for _, want := range []string{"x=1", "y=1", "y=2", "x=3"} {
		c.want(Text, want)
	}
	if from.rated.Len() != 0 || from.Stats().Dropped["ending"] != 0 {
		t.Errorf("%d slots are left, %d messages were dropped", from.rated.Len(), from.Stats().Dropped["ending"])
	}
	pushRated(t, from, "a", time.Hour, "x=4", "x=5")
	pushRated(t, to, "a", time.Hour, "x=6")
	c.want(Text, "x=4")
	if n := to.Stats().RatedWaiting; n != 1 {
		t.Errorf("%d messages wait, want 1", n)
	}
	only(t, to, "a").Close(StatusNormalClosure, "")
	c.want(Text, "x=6")
}

// The interval crosses a cluster.
func TestIntervalInCluster(t *testing.T) {
	cluster := newFakeClusters(2)
	a, b := start(t, Config{Cluster: cluster[0]}), start(t, Config{Cluster: cluster[1]})
	here, there := dial(t, a, "/ws?user=u&topic=t"), dial(t, b, "/ws?user=u&topic=t")
	for i := range 3 {
		if d, err := a.Publish(t.Context(), "t", rated(t, fmt.Sprint("x=", i), time.Hour)); err != nil || d.Receivers != 2 || !d.Complete() {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if _, err := a.StartPaced(t.Context(), Audience{Everyone: true}, rated(t, "y=1", time.Hour), Pace{Over: MinPace}); err != nil {
		t.Fatal(err)
	}
	for srv, c := range map[*Server]*client{a: here, b: there} {
		c.want(Text, "x=0")
		c.want(Text, "y=1")
		if n := srv.Stats().RatedWaiting; n != 1 {
			t.Errorf("%d messages wait, want 1", n)
		}
		only(t, srv, "u").Close(StatusNormalClosure, "")
		c.want(Text, "x=2")
	}
}

// A message with a receipt counts as written when it is sent, and not if it is replaced before.
func TestIntervalWithReceipt(t *testing.T) {
	srv, h := startStopped(t, Config{})
	c := dial(t, srv, "/ws?user=a")
	var all []*Message
	for i := range 3 {
		m, err := NewMessageWith(Text, fmt.Append(nil, i), MessageOptions{Conflate: "x", Interval: 10 * time.Second, Receipt: true})
		if err != nil {
			t.Fatal(err)
		}
		srv.Push(t.Context(), "a", m)
		all = append(all, m)
	}
	want := func(written ...int) {
		t.Helper()
		for i, n := range written {
			if r, err := srv.Receipt(t.Context(), all[i].Receipt()); err != nil || r.Written != n {
				t.Errorf("message %d: %+v, %v, want %d", i, r, err, n)
			}
		}
	}
	c.pinged("0")
	want(1, 0, 0)
	h.step(t, 10*time.Second)
	c.send(10, c.pinged("2"))
	want(1, 0, 1)
	if r := awaitReceipt(t, srv, all[2], 1); r.P99 > time.Second {
		t.Errorf("the round trip begins before the message was sent: %+v", r)
	}
	for i, final := range []bool{false, true} { // a minute after its time
		h.now.Store(int64(time.Duration(69+i) * time.Second))
		srv.receipts.Sweep(srv.now())
		if r, _ := srv.Receipt(t.Context(), all[2].Receipt()); r.Final != final {
			t.Errorf("after %v: %+v", srv.now(), r)
		}
	}
}

func TestIntervalOptions(t *testing.T) {
	for _, test := range []struct {
		o    MessageOptions
		want string
	}{
		{MessageOptions{Conflate: "x", Interval: -1}, "server: MessageOptions.Interval: interval -1ns: want 100ms to 1h"},
		{MessageOptions{Conflate: "x", Interval: MinInterval - 1}, "server: MessageOptions.Interval: interval 99.999999ms: want 100ms to 1h"},
		{MessageOptions{Conflate: "x", Interval: MaxInterval + 1}, "server: MessageOptions.Interval: interval 1h0m0.000000001s: want 100ms to 1h"},
		{MessageOptions{Interval: time.Second}, "server: MessageOptions.Interval: interval 1s of messages without a name: name what they are about"},
		{MessageOptions{Conflate: "x", Interval: MinInterval}, "<nil>"},
		{MessageOptions{Conflate: "x", Interval: MaxInterval}, "<nil>"},
	} {
		if _, err := NewMessageWith(Text, nil, test.o); fmt.Sprint(err) != test.want {
			t.Errorf("%+v: %v, want %s", test.o, err, test.want)
		}
	}
}

// Messages without an interval allocate nothing per receiver while others wait, named or not.
func TestIntervalCost(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 20
	srv, _ := startStopped(t, Config{})
	for i := range n {
		c := dial(t, srv, fmt.Sprint("/ws?topic=t&user=", i))
		go func() {
			for b := make([]byte, 4096); ; {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
		}()
	}
	m := rated(t, "x=1", time.Hour)
	for range 2 {
		srv.Publish(t.Context(), "t", m)
	}
	if srv.rated.Stats().Waiting != n {
		t.Fatalf("%+v", srv.rated.Stats())
	}
	for name, m := range map[string]*Message{"plain": NewMessage(Text, []byte("x")), "named": rated(t, "y=1", 0), "waits": m} {
		var all []*Session
		if allocs := testing.AllocsPerRun(20, func() {
			all = srv.users.AppendTopic(all[:0], "t")
			if got := deliverAll(all, m, netpoll.DropOldest); got != n {
				t.Fatalf("%d receivers", got)
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
