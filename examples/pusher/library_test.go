package pusher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/coder/websocket"
	library "github.com/pusher/pusher-http-go/v5"

	"fanfare/examples/internal/clients"
	"fanfare/server"
	"fanfare/server/pusher"
)

func TestMain(m *testing.M) { clients.Main(m) }

const patience = 30 * time.Second // a deadline that only a broken test reaches

// message is a message to a Pusher client. Data is a string, which has JSON or text.
type message struct{ Event, Channel, Data string }

// subscriber is a Pusher client.
type subscriber struct {
	t      *testing.T
	ctx    context.Context
	conn   *websocket.Conn
	socket string
}

func (c *subscriber) next() (m message) {
	c.t.Helper()
	_, b, err := c.conn.Read(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatalf("%s: %v", b, err)
	}
	return m
}

func (c *subscriber) want(want message) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Fatalf("received %+v, want %+v", got, want)
	}
}

// subscribe subscribes with what authorize returns, as an endpoint for pusher-js would.
func (c *subscriber) subscribe(channel string, authorize func(params []byte) ([]byte, error)) {
	c.t.Helper()
	data := map[string]string{"channel": channel}
	if authorize != nil {
		answer, err := authorize([]byte(url.Values{"socket_id": {c.socket}, "channel_name": {channel}}.Encode()))
		if err == nil {
			err = json.Unmarshal(answer, &data)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	b, _ := json.Marshal(map[string]any{"event": "pusher:subscribe", "data": data})
	if err := c.conn.Write(c.ctx, websocket.MessageText, b); err != nil {
		c.t.Fatal(err)
	}
	if m := c.next(); m.Event != "pusher_internal:subscription_succeeded" || m.Channel != channel {
		c.t.Fatalf("the answer to a subscription to %s is %+v", channel, m)
	}
}

// TestLibrary drives the HTTP API, and checks what is signed for clients and what webhooks sign.
func TestLibrary(t *testing.T) {
	client := &library.Client{AppID: "app1", Key: "key1", Secret: "0123456789abcdef0123"}
	hooks := make(chan library.WebhookEvent, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		parsed, err := client.Webhook(r.Header, body)
		if err != nil {
			t.Errorf("a webhook is not valid: %v", err)
			return
		}
		for _, e := range parsed.Events {
			hooks <- e
		}
		if _, err := client.Webhook(r.Header, append(body, ' ')); err == nil {
			t.Error("a webhook that was changed is valid")
		}
	}))
	defer hook.Close()

	quiet := slog.New(slog.DiscardHandler)
	channels, err := pusher.New(pusher.Config{Logger: quiet, Apps: []pusher.App{{ID: client.AppID, Key: client.Key, Secret: client.Secret,
		Webhooks: []pusher.Webhook{{URL: hook.URL, Events: []string{"channel_occupied", "member_added"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Logger: quiet, Endpoints: []server.Endpoint{channels.Endpoint()}, Fallback: channels.Handler(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
		channels.Close()
	}()
	if err := channels.Serve(srv); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	client.Host = srv.Addr().String()
	client.HTTPClient = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+client.Host+"/app/key1?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	c := &subscriber{t: t, ctx: ctx, conn: conn}
	var hello struct {
		SocketID string `json:"socket_id"`
	}
	if m := c.next(); json.Unmarshal([]byte(m.Data), &hello) != nil || hello.SocketID == "" {
		t.Fatalf("the first message is %+v", m)
	}
	c.socket = hello.SocketID

	c.subscribe("news", nil)
	c.subscribe("private-a", client.AuthorizePrivateChannel)
	c.subscribe("presence-a", func(params []byte) ([]byte, error) {
		return client.AuthorizePresenceChannel(params, library.MemberData{UserID: "7", UserInfo: map[string]string{"name": "Ann"}})
	})
	for _, want := range []library.WebhookEvent{
		{Name: "channel_occupied", Channel: "news"}, {Name: "channel_occupied", Channel: "private-a"},
		{Name: "channel_occupied", Channel: "presence-a"}, {Name: "member_added", Channel: "presence-a", UserID: "7"},
	} {
		select {
		case got := <-hooks:
			if got != want {
				t.Errorf("webhook %+v, want %+v", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("no webhook: want %+v", want)
		}
	}

	if err := client.Trigger("news", "one", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	c.want(message{"one", "news", `{"n":1}`})
	if _, err := client.TriggerWithParams("news", "excluded", "x", library.TriggerParams{SocketID: &c.socket}); err != nil {
		t.Fatal(err)
	}
	attributes := "user_count"
	info, err := client.TriggerMultiWithParams([]string{"presence-a", "private-a"}, "two", "text", library.TriggerParams{Info: &attributes})
	if err != nil || info.Channels["presence-a"].UserCount == nil || *info.Channels["presence-a"].UserCount != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	c.want(message{"two", "presence-a", "text"})
	c.want(message{"two", "private-a", "text"})
	batch, err := client.TriggerBatch([]library.Event{
		{Channel: "news", Name: "three", Data: "a"}, {Channel: "presence-a", Name: "four", Data: "b", Info: &attributes},
	})
	if err != nil || len(batch.Batch) != 2 || batch.Batch[1].UserCount == nil || *batch.Batch[1].UserCount != 1 {
		t.Fatalf("%+v, %v", batch, err)
	}
	c.want(message{"three", "news", "a"})
	c.want(message{"four", "presence-a", "b"})

	prefix := "presence-"
	list, err := client.Channels(library.ChannelsParams{FilterByPrefix: &prefix, Info: &attributes})
	if err != nil || fmt.Sprint(list.Channels) != "map[presence-a:{1}]" {
		t.Errorf("channels: %+v, %v", list, err)
	}
	if all, err := client.Channels(library.ChannelsParams{}); err != nil || len(all.Channels) != 3 {
		t.Errorf("channels: %+v, %v", all, err)
	}
	attributes = "subscription_count"
	if one, err := client.Channel("news", library.ChannelParams{Info: &attributes}); err != nil || *one != (library.Channel{Name: "news", Occupied: true, SubscriptionCount: 1}) {
		t.Errorf("channel: %+v, %v", one, err)
	}
	if users, err := client.GetChannelUsers("presence-a"); err != nil || fmt.Sprint(users.List) != "[{7}]" {
		t.Errorf("users: %+v, %v", users, err)
	}
	wrong := *client
	wrong.Secret = "another-secret-of-the-app"
	if err := wrong.Trigger("news", "one", "x"); err == nil {
		t.Error("a request with another secret is accepted")
	}
}
