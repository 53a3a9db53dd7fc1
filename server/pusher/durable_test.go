package pusher

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/store"
)

// durableApp has durable channels of both kinds.
func durableApp() App {
	app := testApp()
	app.Durable = []Durable{{"private-user.*", "channel"}, {"private-team.*", "user"}, {"presence-d.*", "user"}, {"#server-to-user-*", "channel"}}
	return app
}

// stored has the server store messages.
func stored(t testing.TB) func(*server.Config) {
	t.Helper()
	st, err := inbox.Open(context.Background(), inbox.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	return func(cfg *server.Config) {
		cfg.Store, cfg.DurableTopics = st, DurableTopics([]App{durableApp()})
	}
}

// acknowledged waits until a reader has acknowledged everything in a channel.
func acknowledged(t *testing.T, srv *server.Server, channel, reader string) {
	t.Helper()
	app := durableApp()
	box, st := store.Box{Topic: app.Topic(channel)}, srv.Config().Store
	await(t, "acknowledged "+channel, func() bool {
		last, err := st.Last(t.Context(), box)
		if err != nil {
			t.Fatal(err)
		}
		acked, _, err := st.Acked(t.Context(), box, app.Topic(reader))
		return err == nil && last > 0 && acked == last
	})
}

// A client that comes back receives what it has missed, in order, although it knows nothing of
// it: a pong has acknowledged the rest.
func TestMissedMessages(t *testing.T) {
	_, srv := start(t, []App{durableApp()}, stored(t))
	app := testApp()
	signin := func(c *client) {
		c.say(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%q}}`, "key1:"+app.sign(c.socket+"::user::"+`{"id":"7"}`), `{"id":"7"}`)
		c.next()
	}
	for _, test := range []struct{ channel, data, reader string }{
		{"private-user.7", "", "private-user.7"}, {"private-team.1", `{"user_id":7}`, "#user-7"}, {"presence-d.1", `{"user_id":7}`, "#user-7"}, {"#server-to-user-7", "", "#user-7"},
	} {
		t.Run(test.channel, func(t *testing.T) {
			subscribe := func(c *client) {
				if strings.HasPrefix(test.channel, "#") {
					signin(c)
				}
				if test.data != "" {
					c.subscribe(test.channel, test.data)
				} else {
					c.subscribe(test.channel)
				}
			}
			events := func(c *client, want ...string) {
				t.Helper()
				for len(want) > 0 {
					got := c.next()
					if strings.HasPrefix(got.Event, "pusher_internal:") {
						continue // its confirmation
					}
					if got.String() != want[0]+" "+test.channel+" {}" {
						t.Fatalf("received %s, want %s", got, want[0])
					}
					want = want[1:]
				}
			}
			c := dial(t, srv)
			subscribe(c)
			c.next()
			await(t, "the position is stored", func() bool {
				_, known, err := srv.Config().Store.Acked(t.Context(), store.Box{Topic: app.Topic(test.channel)}, app.Topic(test.reader))
				return err == nil && known
			})
			trigger(t, srv, test.channel, "one", "{}")
			events(c, "one")
			c.say(`{"event":"pusher:ping"}`) // reading the answer, the client answers the ping
			c.want("pusher:pong {}")
			acknowledged(t, srv, test.channel, test.reader)
			c.nc.Close()
			trigger(t, srv, test.channel, "two", "{}")
			trigger(t, srv, test.channel, "three", "{}")
			again := dial(t, srv)
			subscribe(again)
			events(again, "two", "three")
			trigger(t, srv, test.channel, "four", "{}")
			events(again, "four")
			if test.channel == "private-team.1" { // another user has a position of its own
				other := dial(t, srv)
				other.subscribe(test.channel, `{"user_id":8}`)
				other.want(succeeded + test.channel + " {}")
				trigger(t, srv, test.channel, "five", "{}")
				events(other, "five")
			}
		})
	}
	c := dial(t, srv)
	c.subscribe("private-team.1")
	if got := c.next().String(); !strings.Contains(got, "want channel_data with user_id") {
		t.Errorf("a subscription without a user: %s", got)
	}
}
