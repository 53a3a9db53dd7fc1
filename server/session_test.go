package server

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
	"fanfare/registry"
)

// A user may have many sessions; a message for the user reaches all of them, and
// a limit bounds them.
func TestDevices(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, SessionsPerUser: 3})
		var sessions []*client
		for range 3 {
			sessions = append(sessions, dial(t, srv, "/ws?user=a"))
		}
		other := dial(t, srv, "/ws?user=b")
		if n := push(srv, "a", Text, []byte("to a")); n != 3 {
			t.Errorf("reached %d", n)
		}
		for _, c := range sessions {
			c.want(Text, "to a")
		}

		fourth := connect(t, srv)
		fourth.say(request("GET /ws?user=a HTTP/1.1"))
		resp := fourth.answer()
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || srv.Stats().Limited["sessions_per_user"] != 1 {
			t.Errorf("the fourth gets %d %v, and %v were counted", resp.StatusCode, resp.Header, srv.Stats().Limited)
		}
		explains(t, resp, fourth.head)
		fourth.wantEnd()
		if n := srv.Count(); n != 4 {
			t.Errorf("%d sessions, want 4", n)
		}

		// There is room again when one has gone.
		sessions[0].send(ws.OpClose, "")
		sessions[0].wantClose(0)
		await(t, "one goes", func() bool { return len(userSessions(srv, "a")) == 2 })
		dial(t, srv, "/ws?user=a")
		if n := push(srv, "a", Text, []byte("again")); n != 3 {
			t.Errorf("reached %d", n)
		}

		// The other user has heard nothing of all that.
		push(srv, "b", Text, []byte("to b"))
		other.want(Text, "to b")
	})
}

func TestTopics(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, TopicsPerSession: 3})
		a := dial(t, srv, "/ws?user=a&topic=x&topic=y&topic=x")
		b := dial(t, srv, "/ws?user=b&topic=y")
		if topics := only(t, srv, "a").Topics(); !slices.Equal(slices.Sorted(slices.Values(topics)), []string{"x", "y"}) {
			t.Errorf("a follows %q", topics)
		}
		for topic, want := range map[string]int{"x": 1, "y": 2, "z": 0, "": 0} {
			if n := publish(srv, topic, Text, []byte(topic)); n != want {
				t.Errorf("%q reached %d, want %d", topic, n, want)
			}
			if n := srv.users.TopicSessions(topic); n != want {
				t.Errorf("%q has %d subscribers, want %d", topic, n, want)
			}
		}
		got := map[string]bool{}
		for range 2 {
			_, payload, err := a.frame()
			if err != nil {
				t.Fatal(err)
			}
			got[string(payload)] = true
		}
		if !got["x"] || !got["y"] {
			t.Errorf("a got %v", got)
		}
		b.want(Text, "y")

		s := only(t, srv, "b")
		if err := s.Subscribe("z"); err != nil {
			t.Error(err)
		}
		if err := s.Subscribe(""); err == nil {
			t.Error("follows a topic without a name")
		}
		if n, err := srv.subscribeHere("b", "x"); n != 1 || err != nil {
			t.Errorf("SubscribeUser: %d, %v", n, err)
		}
		if err := s.Subscribe("too many"); err != registry.ErrTooManyTopics {
			t.Errorf("the fourth topic: %v", err)
		}
		if !s.Unsubscribe("y") || s.Unsubscribe("y") || srv.unsubscribeHere("b", "x") != 1 {
			t.Error("Unsubscribe")
		}
		publish(srv, "y", Text, []byte("not for b"))
		publish(srv, "z", Text, []byte("for b"))
		b.want(Text, "for b")

		s.Close(1000, "")
		b.finish()
		await(t, "b goes", func() bool { return srv.Count() == 1 })
		if n := srv.users.TopicSessions("z"); n != 0 {
			t.Errorf("%d follow what b has followed", n)
		}
	})
}

// Names are 1 to 256 bytes of UTF-8 without control characters.
func TestNames(t *testing.T) {
	long := strings.Repeat("ü", 128)
	tests := []struct {
		name, query string
		status      int
		user        string
	}{
		{"one byte", "user=a", 101, "a"},
		{"256 bytes", "user=" + url.QueryEscape(long), 101, long},
		{"257 bytes", "user=a" + url.QueryEscape(long), 400, ""},
		{"10 KiB", "user=" + strings.Repeat("a", 10<<10), 431, ""},
		{"userId", "userId=a", 101, "a"},
		{"user and userId", "userId=a&user=b", 400, ""},
		{"slashes, dots and spaces", "user=" + url.QueryEscape("../a b/ü?&="), 101, "../a b/ü?&="},
		{"plus for a space", "user=a+b", 101, "a b"},
		{"unencoded UTF-8", "user=ü", 101, "ü"},
		{"no user", "", 400, ""},
		{"empty", "user=", 400, ""},
		{"malformed escape", "user=%zz", 400, ""},
		{"NUL", "user=a%00b", 400, ""},
		{"line break", "user=a%0d%0ab", 400, ""},
		{"control character beyond ASCII", "user=a%c2%85b", 400, ""},
		{"no UTF-8", "user=%ff", 400, ""}, // 8.1: "both during the opening handshake and during subsequent data exchange"
		{"half a surrogate pair", "user=%ed%a0%80", 400, ""},
		{"topic of 256 bytes", "user=a&topic=" + url.QueryEscape(long), 101, "a"},
		{"topic of 257 bytes", "user=a&topic=a" + url.QueryEscape(long), 400, ""},
		{"empty topic", "user=a&topic=", 400, ""},
		{"topic that is not UTF-8", "user=a&topic=%c3", 400, ""},
		{"as many topics as allowed", "user=a" + strings.Repeat("&topic=t", 100), 101, "a"},
		{"one topic more", "user=a" + strings.Repeat("&topic=t", 101), 400, ""},
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				c := connect(t, srv)
				c.say(request("GET /ws?" + test.query + " HTTP/1.1"))
				resp := c.answer()
				if resp.StatusCode != test.status {
					t.Fatalf("status %d, want %d", resp.StatusCode, test.status)
				}
				if test.status != 101 {
					explains(t, resp, c.head)
					c.wantEnd()
					return
				}
				await(t, "session", func() bool { return len(userSessions(srv, test.user)) == 1 })
				if n := push(srv, test.user, Text, []byte("x")); n != 1 {
					t.Errorf("reached %d", n)
				}
				c.want(Text, "x")
				c.Close()
				await(t, "end", func() bool { return srv.Count() == 0 })
			})
		}
		if srv.users.Users() != 0 || srv.users.Topics() != 0 {
			t.Errorf("%d users and %d topics are left", srv.users.Users(), srv.users.Topics())
		}
	})
}

func TestIdentify(t *testing.T) {
	rejections := []struct {
		name   string
		err    error
		status int
		text   string
		logged int
	}{
		{"rejection", Reject(401, "who are you?"), 401, "who are you?\n", 0},
		{"wrapped rejection", fmt.Errorf("wrapped: %w", Reject(403, "not you")), 403, "not you\n", 0},
		{"another error", fmt.Errorf("database is down"), 500, "internal error\n", 1},
		{"status that is none", Reject(700, "x"), 500, "internal error\n", 1},
		{"status that is not a error", Reject(101, "x"), 500, "internal error\n", 1},
		{"negative status", Reject(-1, "x"), 500, "internal error\n", 1},
		{"text that looks like a header", Reject(400, "a\r\nX-Evil: b\r\n\r\nc"), 400, "a\r\nX-Evil: b\r\n\r\nc\n", 0},
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for _, test := range rejections {
			t.Run(test.name, func(t *testing.T) {
				log := new(logBuffer)
				srv := start(t, Config{Transport: transport, Logger: log.logger(), Endpoints: []Endpoint{{
					Path: "/", Identifier: func(context.Context, *Request) (Identity, error) { return Identity{User: "a"}, test.err },
				}}})
				c := connect(t, srv)
				c.say(request("GET / HTTP/1.1"))
				resp := c.answer()
				body := make([]byte, 100)
				n, _ := resp.Body.Read(body)
				if resp.StatusCode != test.status || string(body[:n]) != test.text || resp.Header.Get("X-Evil") != "" {
					t.Errorf("%d %q %v", resp.StatusCode, body[:n], resp.Header)
				}
				c.wantEnd()
				if n := log.count("level="); n != test.logged {
					t.Errorf("%d lines are logged", n)
				}
				if srv.Count() != 0 || srv.users.Users() != 0 {
					t.Error("there is a session")
				}
			})
		}
		t.Run("panic", func(t *testing.T) {
			log := new(logBuffer)
			srv := start(t, Config{Transport: transport, Logger: log.logger(), Endpoints: []Endpoint{{
				Path: "/", Identifier: func(context.Context, *Request) (Identity, error) { panic("Identify") },
			}}})
			c := connect(t, srv)
			c.say(request("GET / HTTP/1.1"))
			if resp := c.answer(); resp.StatusCode != 500 {
				t.Errorf("status %d", resp.StatusCode)
			}
			c.wantEnd()
			if n := log.count("panic="); n != 1 {
				t.Errorf("%d lines are logged", n)
			}
		})
		t.Run("what it may look at", func(t *testing.T) {
			seen := make(chan string, 1)
			srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{{
				Path: "/a", Identifier: func(_ context.Context, r *Request) (Identity, error) {
					seen <- fmt.Sprint(r.Path(), r.Query("b"), r.QueryAll("c"), r.Header("X-Y"), r.RemoteAddr())
					return Identity{User: "u", Data: "data"}, nil
				},
			}}})
			c := connect(t, srv)
			c.say(request("GET /a?b=1&c=2&c=3 HTTP/1.1", "+x-y: z"))
			c.answer()
			want := fmt.Sprint("/a", "1", []string{"2", "3"}, "z", c.LocalAddr())
			if got := receive(t, "Identify", seen); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			await(t, "session", func() bool { return len(userSessions(srv, "u")) == 1 })
			s := only(t, srv, "u")
			if s.Data() != "data" || s.User() != "u" || s.RemoteAddr().String() != c.LocalAddr().String() || s.Protocol() != "" || s.ID() == 0 || s.Queued() != 0 {
				t.Errorf("%v %q %v %q %d %d", s.Data(), s.User(), s.RemoteAddr(), s.Protocol(), s.ID(), s.Queued())
			}
			if age := srv.started.Add(srv.now()).Sub(s.Opened()); age < -tick || age > 20*tick {
				t.Errorf("opened %v ago", age)
			}
			s.SetData(42)
			if s.Data() != 42 {
				t.Error("SetData")
			}
		})
	})
}

// A session without a user is in no registry: pushes do not reach it, Send does.
func TestSessionWithoutUser(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		opened := make(chan *Session, 1)
		ep := EchoEndpoint("/")
		ep.Hooks.OnOpen = func(s *Session) { opened <- s }
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		c := dial(t, srv, "/")
		s := receive(t, "OnOpen", opened)
		if n := broadcast(srv, Text, []byte("all")); n != 0 {
			t.Errorf("Broadcast reached %d", n)
		}
		if err := s.Subscribe("x"); err == nil {
			t.Error("a session without a user subscribed to a topic")
		}
		if s.User() != "" || len(s.Topics()) != 0 || srv.Count() != 1 {
			t.Errorf("%q %q %d", s.User(), s.Topics(), srv.Count())
		}
		if err := s.Send(Text, []byte("you")); err != nil {
			t.Error(err)
		}
		c.want(Text, "you")
	})
}

// Payloads go out byte for byte, whatever their size and way.
func TestPayloads(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, QueueBytes: 1 << 20})
		c := dial(t, srv, "/ws?user=a&topic=t")
		s := only(t, srv, "a")
		all := make([]byte, 200_000)
		for i := range all {
			all[i] = byte(i * 7 >> 3)
		}
		ways := []struct {
			name string
			send func(op Op, payload []byte)
		}{
			{"Send", func(op Op, p []byte) { s.Send(op, p) }},
			{"SendPrepared", func(op Op, p []byte) { s.SendMessage(NewMessage(op, p)) }},
			{"Push", func(op Op, p []byte) { push(srv, "a", op, p) }},
			{"Publish", func(op Op, p []byte) { publish(srv, "t", op, p) }},
			{"Broadcast", func(op Op, p []byte) { broadcast(srv, op, p) }},
		}
		for _, way := range ways {
			for _, n := range []int{0, 1, 125, 126, 127, 1000, 65535, 65536, len(all)} {
				for _, op := range []Op{Text, Binary} {
					payload := append([]byte(nil), all[:n]...)
					way.send(op, payload)
					clear(payload) // it was copied
					c.want(op, string(all[:n]))
				}
			}
		}
	})
}
