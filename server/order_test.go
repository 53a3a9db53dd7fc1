package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
	"fanfare/server/inbox"
)

// hello is the first object of fanfare.v1, whatever is pushed while the session opens,
// with and without a store.
func TestHelloPrecedesPushes(t *testing.T) {
	rounds := 100
	if raceEnabled || testing.Short() {
		rounds = 40
	}
	for _, test := range []struct {
		name   string
		config func(t *testing.T) Config
	}{
		{"without a store", func(*testing.T) Config { return Config{} }},
		{"with a store", func(t *testing.T) Config { return withInbox(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				cfg := test.config(t)
				cfg.Transport, cfg.SessionsPerUser = transport, rounds
				srv := start(t, cfg)
				stop := rapidly(func(i int) {
					switch i % 3 {
					case 0:
						push(srv, "a", Text, []byte("x"))
					case 1:
						publish(srv, "t", Text, []byte("x"))
					default:
						broadcast(srv, Text, []byte("x"))
					}
				})
				defer stop()
				for range rounds {
					c := dial(t, srv, "/ws?user=a&topic=t", speaksV1)
					_, payload, err := c.frame()
					if err != nil || !strings.Contains(string(payload), `"type":"hello"`) {
						t.Fatalf("the first frame is %q, %v", payload, err)
					}
					c.Close()
				}
			})
		})
	}
}

// After the confirmation of unsubscribe no stored message of the topic comes, however far
// its replay has got.
func TestUnsubscribeEndsTheReplay(t *testing.T) {
	const stored = 300
	cfg := withTopics(t, func(in *inbox.Config) { in.Messages = 10_000 })
	cfg.QueueBytes = 1 << 20
	srv := start(t, cfg)
	for i := range stored {
		publishDurable(t, srv, "news.a", fmt.Sprint(i))
	}
	cut := 0
	for round := range 20 {
		c := dial(t, srv, fmt.Sprint("/ws?user=u", round), speaksV1)
		c.hear()
		c.send(Text, `{"type":"subscribe","topic":"news.a","offset":0}`)
		got := 0
		for range round * 10 { // in the middle of the replay
			if m := c.hear(); m.Topic == "news.a" && m.Type == "message" {
				got++
			}
		}
		c.send(Text, `{"type":"unsubscribe","topic":"news.a"}`)
		c.send(Text, `{"type":"subscribe","topic":"end"}`)
		for confirmed := false; ; {
			m := c.hear()
			if confirmed && m.Topic == "news.a" {
				t.Fatalf("round %d: %+v after the confirmation", round, m)
			}
			if m.Type == "unsubscribe" {
				confirmed = true
				if got < stored {
					cut++
				}
				// Earlier messages have arrived when a new one arrives.
				publishDurable(t, srv, "news.a", "later")
				push(srv, fmt.Sprint("u", round), Text, []byte("end"))
			}
			if m.Type == "message" && m.Topic == "news.a" {
				got++
			}
			if m.Text == "end" {
				break
			}
		}
		c.Close()
	}
	if cut == 0 {
		t.Error("every replay was complete before the unsubscribe")
	}
}

// A session is subscribed to a durable topic by the server while it opens. Each topic of
// it is delivered, and the store is not asked without end.
func TestSubscribeRacesOpening(t *testing.T) {
	rounds := 150
	if raceEnabled || testing.Short() {
		rounds = 40
	}
	cfg := withTopics(t)
	cfg.SessionsPerUser = 1000
	srv := start(t, cfg)
	stop := rapidly(func(int) { srv.subscribeHere("a", "news.x") })
	defer stop()
	path := "/ws?user=a&topic=news.y"
	for i := range 90 { // opening takes longer
		path += fmt.Sprint("&topic=t", i)
	}
	for round := range rounds {
		c := dial(t, srv, path)
		for _, topic := range []string{"news.y", "news.x"} {
			if topic == "news.x" {
				await(t, "the subscription", func() bool { return srv.users.TopicSessions("news.x") > 0 })
			}
			want := fmt.Sprint(topic, " ", round)
			publishDurable(t, srv, topic, want)
			for found := false; !found; {
				op, payload, err := c.frame()
				if err != nil {
					t.Fatalf("round %d: %q did not come: %v", round, want, err)
				}
				if op == ws.OpPing {
					c.send(ws.OpPong, string(payload))
				}
				found = op == Text && string(payload) == want
			}
		}
		c.reset()
		await(t, "end", func() bool { return srv.Count() == 0 })
	}
	stop2 := srv.Stats().Replay
	await(t, "no work is left", func() bool { return srv.Stats().Replay.Sessions == 0 && srv.Stats().Replay.Waiting == 0 })
	if stop2.Panics != 0 {
		t.Errorf("%d panics", stop2.Panics)
	}
}

// Concurrent subscribes and unsubscribes of one durable topic leave the session either
// with both memberships, of live and of stored messages, or with none.
func TestSubscribeRacesUnsubscribe(t *testing.T) {
	rounds := 60
	if raceEnabled || testing.Short() {
		rounds = 20
	}
	srv := start(t, withTopics(t))
	c := dial(t, srv, "/ws?user=a", speaksV1)
	c.hear()
	s := only(t, srv, "a")
	for round := range rounds {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for range 5 {
					if i%2 == 0 {
						s.Subscribe("news.a")
					} else {
						s.Unsubscribe("news.a")
					}
				}
			})
		}
		wg.Wait()
		subscribed := srv.users.TopicSessions("news.a") == 1
		stored, live := fmt.Sprint("stored ", round), fmt.Sprint("live ", round)
		if st := publishDurable(t, srv, "news.a", stored); (st.Receivers == 1) != subscribed {
			t.Fatalf("round %d: subscribed %t, a stored message has %d receivers", round, subscribed, st.Receivers)
		}
		push(srv, "a", Text, []byte(live))
		// The stored message may be replayed after the live one.
		gotStored, gotLive := false, false
		for !gotLive || subscribed && !gotStored {
			m := c.hear()
			gotStored = gotStored || m.Text == stored
			gotLive = gotLive || m.Text == live
		}
		if gotStored && !subscribed {
			t.Fatalf("round %d: a message of a topic without a subscription", round)
		}
	}
}

// A replay needs as many round trips over TLS, where every write passes through the
// queue, as over a connection with a descriptor: about one a window.
func TestReplayOverTLSTakesAsManyRoundTrips(t *testing.T) {
	const messages = 200
	pad := strings.Repeat("p", 1<<10)
	trips := map[bool]int{}
	for _, secure := range []bool{false, true} {
		cfg := withInbox(t)
		srv, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		serve(t, srv)
		m, err := srv.Mount(Endpoint{NonBlocking: true, Identifier: func(context.Context, *Request) (Identity, error) {
			return Identity{User: "alice"}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range messages {
			pushDurable(t, srv, "alice", fmt.Sprint(i, pad))
		}
		hs := httptest.NewUnstartedServer(m)
		dial := net.Dial
		if hs.Start(); secure {
			hs.Close()
			hs = httptest.NewTLSServer(m)
			dial = func(network, addr string) (net.Conn, error) {
				return tls.Dial(network, addr, &tls.Config{InsecureSkipVerify: true})
			}
		}
		nc, err := dial("tcp", hs.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(30 * time.Second))
		c := &client{Conn: nc, t: t, br: bufio.NewReader(nc)}
		c.say(handshakeFor("/"))
		if r := c.answer(); r.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(r.Status)
		}
		for got := 0; got < messages; {
			op, payload, err := c.frame()
			if err != nil {
				t.Fatalf("after %d messages: %v", got, err)
			}
			switch op {
			case Text:
				got++
			case ws.OpPing:
				trips[secure]++
				time.Sleep(time.Millisecond) // a message that is under way comes first
				c.send(ws.OpPong, string(payload))
			}
		}
		nc.Close()
		hs.Close()
		await(t, "end", func() bool { return srv.connections.Load() == 0 })
	}
	// The window is half of the queue: 32 KiB hold some 30 messages.
	if trips[true] > 2*trips[false]+2 || trips[false] > 20 {
		t.Errorf("%d round trips over TLS, %d without", trips[true], trips[false])
	}
	t.Logf("%d round trips over TLS, %d without", trips[true], trips[false])
}
