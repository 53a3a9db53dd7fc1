package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// numbered is a message of 8 KiB that begins with its number.
func numbered(i int) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 8<<10), uint32(i))
	return append(b, strings.Repeat("x", 8<<10-4)...)
}

// wantNumbered reads such messages until a frame of another kind, which it
// returns. Each has to be whole, and later than the one before.
func (c *client) wantNumbered() (numbers []int, op Op, payload []byte) {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatal(err)
		}
		if op != Binary {
			return numbers, op, payload
		}
		n := int(binary.BigEndian.Uint32(payload))
		if string(payload) != string(numbered(n)) {
			c.t.Fatalf("message %d is damaged", n)
		}
		if len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			c.t.Fatalf("message %d after %d", n, numbers[len(numbers)-1])
		}
		numbers = append(numbers, n)
	}
}

// A client that does not read is closed with 1013 when its queue is full, if the
// messages are for its user. What had begun to go out is finished.
func TestSlowIsClosed(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		closed := make(chan frame.CloseError, 1)
		ep := PushEndpoint("/ws")
		ep.Hooks.OnClose = func(_ *Session, why frame.CloseError) { closed <- why }
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := dial(t, srv, "/ws?user=a")
		s := only(t, srv, "a")
		sent := 0
		if errors.Is(ErrSlowDropped, ErrSlowClosing) || !errors.Is(ErrSlowClosing, ErrSlow) {
			t.Error("errors.Is does not tell the two kinds of ErrSlow apart")
		}
		for push(srv, "a", Binary, numbered(sent)) == 1 {
			if sent++; s.Queued() > 64<<10+8<<10 {
				t.Fatalf("%d bytes are queued", s.Queued())
			}
		}
		if err := s.Send(Text, nil); err != ErrClosed {
			t.Errorf("Send after that: %v", err)
		}
		numbers, op, payload := c.wantNumbered()
		if op != ws.OpClose || !strings.HasPrefix(string(payload), closePayload(1013, "")) {
			t.Errorf("the end is %x %q", op, payload)
		}
		for i, n := range numbers {
			if i != n {
				t.Fatalf("message %d is missing, and later ones came", i)
			}
		}
		if len(numbers) > sent || len(numbers) < sent-9 { // the queue holds 8
			t.Errorf("%d of %d came", len(numbers), sent)
		}
		c.send(ws.OpClose, string(payload))
		c.wantEnd()
		if why := receive(t, "OnClose", closed); why.Code != 1013 {
			t.Errorf("OnClose has %d", why.Code)
		}
		if srv.stats.Slow.Load() != 1 || srv.stats.Closes[1013].Load() != 1 {
			t.Errorf("%d slow, %d closed with 1013 were counted", srv.stats.Slow.Load(), srv.stats.Closes[1013].Load())
		}
		// The queue was thrown away for the close frame, not to make room.
		if drops := srv.Stats().Dropped; drops["ending"] == 0 || drops["full"] != 0 {
			t.Errorf("dropped: %v", drops)
		}
	})
}

// A client that does not read loses the oldest messages of a topic, receives
// the newest, and stays connected.
func TestSlowLosesTheOldest(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ways := map[string]func(srv *Server, payload []byte) int{
			"topic":     func(srv *Server, p []byte) int { return publish(srv, "t", Binary, p) },
			"broadcast": func(srv *Server, p []byte) int { return broadcast(srv, Binary, p) },
		}
		for name, send := range ways {
			t.Run(name, func(t *testing.T) {
				srv := start(t, Config{Transport: transport})
				c := dial(t, srv, "/ws?user=a&topic=t")
				s := only(t, srv, "a")
				sent := 0
				for ; srv.engine.Stats().Dropped < 20; sent++ {
					if n := send(srv, numbered(sent)); n != 1 {
						t.Fatalf("message %d reached %d", sent, n)
					}
					if s.Queued() > 64<<10+8<<10 {
						t.Fatalf("%d bytes are queued", s.Queued())
					}
				}
				s.Close(1000, "")
				numbers, op, _ := c.wantNumbered()
				if op != ws.OpClose {
					t.Errorf("frame %x", op)
				}
				dropped := int(srv.engine.Stats().Dropped)
				if len(numbers)+dropped != sent {
					t.Errorf("%d came and %d were dropped of %d", len(numbers), dropped, sent)
				}
				if last := numbers[len(numbers)-1]; last != sent-1 {
					t.Errorf("the last is %d of %d", last, sent)
				}
			})
		}
	})
}

// The policies can be set the other way round.
func TestSlowPolicies(t *testing.T) {
	t.Run("user pushes may be dropped", func(t *testing.T) {
		srv := start(t, Config{UserFull: FullDropOldest})
		dial(t, srv, "/ws?user=a")
		for srv.engine.Stats().Dropped < 5 {
			if n := push(srv, "a", Binary, numbered(0)); n != 1 {
				t.Fatalf("reached %d", n)
			}
		}
		if s := only(t, srv, "a"); s.phase() != open {
			t.Error("was closed")
		}
		// A message that can never fit is dropped itself.
		if err := only(t, srv, "a").Send(Binary, make([]byte, 1<<20)); !errors.Is(err, ErrSlowDropped) || !errors.Is(err, ErrSlow) {
			t.Errorf("Send: %v", err)
		}
	})
	t.Run("subscribers may be closed", func(t *testing.T) {
		srv := start(t, Config{TopicFull: FullClose})
		dial(t, srv, "/ws?user=a&topic=t")
		for publish(srv, "t", Binary, numbered(0)) == 1 {
		}
		if n := srv.stats.Slow.Load(); n != 1 {
			t.Errorf("%d slow ones were counted", n)
		}
	})
}

func TestParseWhenFull(t *testing.T) {
	for s, want := range map[string]WhenFull{"close": FullClose, "drop-oldest": FullDropOldest, "": 0, "Close": 0} {
		if got, err := ParseWhenFull(s); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

// Clients that do not read delay no other: a broadcast does not wait for them, and
// clients that read get all of it.
func TestSlowConsumersDelayNoOther(t *testing.T) {
	const stuck, healthy, messages = 2, 3, 1000
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		for i := range stuck {
			dial(t, srv, fmt.Sprintf("/ws?user=stuck%d", i))
		}
		var clients []*client
		for i := range healthy {
			clients = append(clients, dial(t, srv, fmt.Sprintf("/ws?user=healthy%d", i)))
		}
		for m := range messages {
			if n := broadcast(srv, Binary, numbered(m)); n != stuck+healthy {
				t.Fatalf("message %d reached %d", m, n)
			}
			for _, c := range clients {
				c.want(Binary, string(numbered(m)))
			}
		}
		if srv.engine.Stats().Dropped == 0 {
			t.Error("no client was stuck")
		}
	})
}

// A client that asks with pings and does not read the answers is closed; they do
// not pile up.
func TestSlowPings(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep := PushEndpoint("/ws")
		ep.Rate.Unlimited = true
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := dial(t, srv, "/ws?user=a")
		s := only(t, srv, "a")
		pings := strings.Repeat(string(masked(ws.OpPing, true, []byte(strings.Repeat("p", 125)))), 100)
		for s.phase() == open {
			if _, err := c.Write([]byte(pings)); err != nil {
				break
			}
			if q := s.Queued(); q > 64<<10+4<<10+200 {
				t.Fatalf("%d bytes are queued", q)
			}
		}
		if n := srv.stats.Slow.Load(); n != 1 {
			t.Errorf("%d slow ones were counted", n)
		}
	})
}
