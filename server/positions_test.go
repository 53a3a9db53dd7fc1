package server

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"fanfare/server/store"
)

// A client that acknowledges in more durable topics than its user, or its address, may
// have positions in is told so, and gets the messages all the same.
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
