package server

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// upper is a third dialect: messages in capitals, framed by brackets. It counts its calls.
type upper struct {
	WebSocket
	encoded atomic.Int64
}

func (*upper) Protocol() string { return "upper" }
func (u *upper) Encode(c Content) *frame.Prepared {
	u.encoded.Add(1)
	return frame.Prepare(c.Op, fmt.Appendf(nil, "[%s]", bytes.ToUpper(c.Payload)))
}
func (*upper) Resume(*Request, string, []string) (map[string]Position, error) { return nil, nil }
func (*upper) Begin(s *Session, p Position) {
	if p.Topic == "" {
		s.Reply(frame.Prepare(Text, []byte("WELCOME "+s.User())))
	}
}
func (*upper) Receive(s *Session, op Op, payload []byte) { s.Send(op, payload) }
func (*upper) Acks() AckMode                             { return AckNone }
func (*upper) Goodbye(code Code, reason string) []byte {
	return append(frame.AppendFrame(nil, Text, []byte("GOODBYE")), frame.AppendClose(nil, code, reason)...)
}

// A dialect of the application decides about everything that its sessions say.
func TestOwnDialect(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep := PushEndpoint("/ws")
		ep.Dialects = append(ep.Dialects, new(upper))
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := dial(t, srv, "/ws?user=a", "Sec-WebSocket-Protocol: other, upper")
		c.want(Text, "WELCOME a")
		push(srv, "a", Text, []byte("hi"))
		c.want(Text, "[HI]")
		c.send(Binary, "echo")
		c.want(Binary, "[ECHO]")
		c.send(ws.OpPing, "p")
		c.want(ws.OpPong, "p")
		only(t, srv, "a").Close(4000, "")
		c.want(Text, "GOODBYE")
		c.wantClose(4000)
	})
}

// A message is encoded once for each dialect, however many receivers it has, and
// compressed once for each window, whatever the way it is sent.
func TestMessageIsEncodedOncePerDialect(t *testing.T) {
	const receivers = 300 // enough for several goroutines
	first, second := new(upper), &renamed{upper: new(upper)}
	ep := compressing(PushEndpoint("/ws"))
	ep.Dialects = append(ep.Dialects, first, second)
	srv := start(t, Config{Endpoints: []Endpoint{ep}})
	var plain, deflated *client
	for i := range receivers {
		path, protocol := fmt.Sprintf("/ws?user=u%d&topic=t", i), []string{"upper", "lower", "fanfare.v1", ""}[i%4]
		var lines []string
		if protocol != "" {
			lines = append(lines, "Sec-WebSocket-Protocol: "+protocol)
		}
		if i%8 == 7 {
			lines = append(lines, "Sec-WebSocket-Extensions: permessage-deflate")
		}
		c := dial(t, srv, path, lines...)
		switch i {
		case 3:
			plain = c
		case 7:
			deflated = c
		}
	}
	users := make([]string, receivers)
	for i := range users {
		users[i] = fmt.Sprint("u", i)
	}
	payload := bytes.Repeat([]byte("message "), 100)
	m := NewMessage(Text, payload)
	for _, send := range []func() int{
		func() int { return receiversOf(srv.Broadcast(t.Context(), m)) },
		func() int { return receiversOf(srv.Publish(t.Context(), "t", m)) },
		func() int { return receiversOf(srv.PushMany(t.Context(), users, nil, m)) },
	} {
		if n := send(); n != receivers {
			t.Errorf("%d receivers", n)
		}
		plain.want(Text, string(payload))
		deflated.wantBack(payload)
	}
	// Two goroutines may meet; then both encode, and one result is kept.
	if n := first.encoded.Load(); n < 1 || n > 2 {
		t.Errorf("encoded %d times for one dialect", n)
	}
	if n := second.encoded.Load(); n < 1 || n > 2 {
		t.Errorf("encoded %d times for the other dialect", n)
	}
	a, b := only(t, srv, "u7"), only(t, srv, "u15")
	if x, y := a.encoded(m), b.encoded(m); &x[0] != &y[0] || bytes.Contains(x, payload[:16]) {
		t.Error("two receivers have compressed frames of their own")
	}
	if x, y := only(t, srv, "u0").encoded(m), only(t, srv, "u4").encoded(m); &x[0] != &y[0] {
		t.Error("two receivers have frames of their own")
	}
}

func receiversOf(d Delivery, err error) int { return receivers(d, err) }

// renamed is a dialect of another name.
type renamed struct{ *upper }

func (*renamed) Protocol() string { return "lower" }

// Three dialects mixed, compressed and not: a broadcast allocates nothing per receiver.
func TestMixedBroadcastAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const receivers, messages = 240, 50
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep := PushEndpoint("/ws")
		ep.Dialects = append(ep.Dialects, new(upper))
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		var clients []*client
		for i := range receivers {
			c := dial(t, srv, fmt.Sprintf("/ws?user=u%d&topic=t", i), "Sec-WebSocket-Protocol: "+[]string{"upper", "fanfare.v1", "none"}[i%3])
			if i%3 != 2 {
				c.frame() // WELCOME or hello
			}
			clients = append(clients, c)
		}
		payload := bytes.Repeat([]byte("x"), 128)
		length := func(i int) int {
			m := NewMessage(Text, payload)
			return len(only(t, srv, fmt.Sprint("u", i)).encoded(m))
		}
		lengths := []int{length(0), length(1), length(2)}
		ways := map[string]func() int{
			"Broadcast": func() int { return broadcast(srv, Text, payload) },
			"Publish":   func() int { return publish(srv, "t", Text, payload) },
		}
		for name, send := range ways {
			drain := func(n int) {
				for i, c := range clients {
					if _, err := io.CopyN(io.Discard, c.br, int64(n*lengths[i%3])); err != nil {
						t.Fatal(err)
					}
				}
			}
			send()
			drain(1)
			n := mallocs(func() {
				for range messages {
					if n := send(); n != receivers {
						t.Fatalf("%s reached %d", name, n)
					}
				}
			})
			drain(messages)
			// For the message, two encodings and a second goroutine, as with one dialect;
			// nothing for each of the receivers.
			if n > messages*25 {
				t.Errorf("%s: %d allocations for %d messages to %d receivers", name, n, messages, receivers)
			}
			t.Logf("%s: %.1f allocations a message", name, float64(n)/messages)
		}
	})
}

// A Message may be sent by two servers of a process at once.
func TestMessageIsSharedByServers(t *testing.T) {
	third := new(upper)
	ep := PushEndpoint("/ws")
	ep.Dialects = append(ep.Dialects, third)
	a, b := start(t, Config{Endpoints: []Endpoint{ep}}), start(t, Config{Endpoints: []Endpoint{ep}})
	m := NewMessage(Text, []byte("shared"))
	var all sync.WaitGroup
	var clients []*client
	for _, srv := range []*Server{a, b} {
		c := dial(t, srv, "/ws?user=u", "Sec-WebSocket-Protocol: upper")
		c.want(Text, "WELCOME u")
		clients = append(clients, c)
	}
	const each = 50
	for _, srv := range []*Server{a, b} {
		all.Go(func() {
			for range each {
				srv.Push(t.Context(), "u", m)
			}
		})
	}
	all.Wait()
	for _, c := range clients {
		for range each {
			c.want(Text, "[SHARED]")
		}
	}
	if n := third.encoded.Load(); n > 2 {
		t.Errorf("encoded %d times", n)
	}
	if got := string(m.Payload()); got != "shared" || m.Op() != Text || m.Len() != 6 {
		t.Errorf("the message is %q now", got)
	}
}

// A session that is matched several times gets a message once, and one that is left out
// gets none.
func TestPushManyAndPublishExcept(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		clients := map[string]*client{}
		for _, user := range []string{"a", "b", "c", "d"} {
			path := "/ws?user=" + user
			if user != "d" {
				path += "&topic=t1&topic=t2"
			}
			clients[user] = dial(t, srv, path)
		}
		end := func() { // what follows shows what came before
			broadcast(srv, Text, []byte("end"))
		}
		expect := func(what string, got int, users ...string) {
			t.Helper()
			if got != len(users) {
				t.Errorf("%s: %d receivers, want %d", what, got, len(users))
			}
			end()
			for user, c := range clients {
				if slices.Contains(users, user) {
					c.want(Text, what)
				}
				c.want(Text, "end")
			}
		}
		send := func(what string, users, topics []string) int {
			return receiversOf(srv.PushMany(t.Context(), users, topics, NewMessage(Text, []byte(what))))
		}
		expect("users and topics", send("users and topics", []string{"a", "a", "d"}, []string{"t1", "t2", "t1"}), "a", "b", "c", "d")
		expect("users", send("users", []string{"b", "nobody"}, nil), "b")
		expect("topics", send("topics", nil, []string{"t2", "none"}), "a", "b", "c")
		expect("nothing", send("nothing", nil, nil))
		but := func(what string, s *Session) int {
			return receiversOf(srv.PublishExcept(t.Context(), "t1", NewMessage(Text, []byte(what)), s))
		}
		expect("all but b", but("all but b", only(t, srv, "b")), "a", "c")
		expect("d is none of them", but("d is none of them", only(t, srv, "d")), "a", "b", "c")
		expect("nil", but("nil", nil), "a", "b", "c")
	})
}
