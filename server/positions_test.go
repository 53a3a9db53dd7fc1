package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"fanfare/server/store"
)

// A client that acknowledges in more durable topics than its user, or its address, may
// have positions in gets an error, and the messages all the same.
func TestPositionsLimits(t *testing.T) {
	for _, test := range []struct {
		name    string
		perUser int
		perIP   int
		from    string
	}{
		{"per user", 2, 100, "192.0.2.1"},
		{"per address", 100, 2, "192.0.2.1"},
		{"per network", 100, 2, "2001:db8::1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := withTopics(t)
			cfg.PositionsPerUser, cfg.PositionsPerIP = test.perUser, test.perIP
			cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			srv := start(t, cfg)
			c := dial(t, srv, "/ws?user=alice", speaksV1, "X-Forwarded-For: "+test.from)
			c.hear()
			for i := range 3 {
				topic := fmt.Sprint("news.", i)
				c.send(Text, fmt.Sprintf(`{"type":"subscribe","topic":%q}`, topic))
				c.hear()
				st := publishDurable(t, srv, topic, "x")
				if m := c.hear(); m.Type != "message" || m.Topic != topic {
					t.Fatalf("got %+v", m)
				}
				c.send(Text, fmt.Sprintf(`{"type":"ack","topic":%q,"epoch":%q,"offset":%d}`, topic, st.Epoch, st.Offset))
				if i < 2 {
					followed(t, srv, topic, "alice", st.Offset)
					continue
				}
				if m := c.hear(); m.Code != "too_many_positions" {
					t.Errorf("got %+v", m)
				}
				if err := only(t, srv, "alice").Acknowledge(topic, st.Epoch, st.Offset); !errors.Is(err, ErrPositions) {
					t.Errorf("Acknowledge: %v", err)
				}
				if _, known, err := srv.cfg.Store.Acked(t.Context(), store.Box{Topic: topic}, "alice"); known || err != nil {
					t.Errorf("a position is stored, or %v", err)
				}
			}
			if n := srv.Stats().Replay.Unstored; n != 1 {
				t.Errorf("%d are counted, want 1", n)
			}
		})
	}
}

// Topics to which SubscribeUser subscribes the sessions of a user do not count, and so leave
// room for those that the client chooses.
func TestPositionsOfServerSideTopics(t *testing.T) {
	cfg := withTopics(t)
	cfg.PositionsPerUser, cfg.PositionsPerIP = 1, 1
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	c.hear()
	for i := range 4 {
		topic := fmt.Sprint("news.", i)
		if i == 2 {
			c.send(Text, fmt.Sprintf(`{"type":"subscribe","topic":%q}`, topic))
		} else if d, err := srv.SubscribeUser(t.Context(), "alice", topic); d.Receivers != 1 || err != nil {
			t.Fatalf("%+v, %v", d, err)
		}
		c.hear()
		st := publishDurable(t, srv, topic, "x")
		if m := c.hear(); m.Type != "message" || m.Topic != topic {
			t.Fatalf("got %+v", m)
		}
		c.send(Text, fmt.Sprintf(`{"type":"ack","topic":%q,"epoch":%q,"offset":%d}`, topic, st.Epoch, st.Offset))
		followed(t, srv, topic, "alice", st.Offset)
	}
	if n := srv.Stats().Replay.Unstored; n != 0 {
		t.Errorf("%d are counted, want none", n)
	}
}

// Topics of a handshake count if a client may have chosen their names.
func TestPositionsOfHandshakeTopics(t *testing.T) {
	for _, test := range []struct {
		name         string
		maySubscribe []string
		insecure     bool
		unstored     int64
	}{
		{"the server chose them", nil, false, 0},
		{"each name is permitted", []string{"news.a", "news.b"}, false, 0},
		{"a pattern permits them", []string{"news.*"}, false, 1},
		{"one of them is permitted by a pattern only", []string{"news.a", "*"}, false, 0},
		{"insecure", nil, true, 0}, // nothing is stored without a message
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := withTopics(t)
			cfg.PositionsPerUser = 1
			cfg.Endpoints[0].Insecure = test.insecure
			cfg.Endpoints[0].Identifier = func(context.Context, *Request) (Identity, error) {
				return Identity{User: "alice", Topics: []string{"news.a", "news.b"}, MaySubscribe: test.maySubscribe}, nil
			}
			srv := start(t, cfg)
			dial(t, srv, "/ws")
			await(t, "the topics are located", func() bool {
				n := srv.Stats().Replay
				return n.Sessions == 1 && n.Waiting == 0 && n.Unstored >= test.unstored
			})
			stored := func(topic string) bool {
				_, known, err := srv.cfg.Store.Acked(t.Context(), store.Box{Topic: topic}, "alice")
				return known && err == nil
			}
			switch {
			case test.insecure:
			case test.unstored > 0:
				await(t, "one position", func() bool { return stored("news.a") || stored("news.b") })
			default:
				await(t, "both positions", func() bool { return stored("news.a") && stored("news.b") })
			}
			if n := srv.Stats().Replay.Unstored; n != test.unstored {
				t.Errorf("%d are counted, want %d", n, test.unstored)
			}
		})
	}
}
