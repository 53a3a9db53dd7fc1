package messagenats_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
	"fanfare/server/messagenats"
)

// A program that has subscribed to a NATS subject answers what clients send.
func Example() {
	ns, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		panic(err)
	}
	ns.Start()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(time.Minute) {
		panic("NATS does not start")
	}
	backend, err := nats.Connect(ns.ClientURL())
	if err != nil {
		panic(err)
	}
	defer backend.Close()
	backend.Subscribe("chat.messages", func(m *nats.Msg) {
		if strings.Contains(string(m.Data), `"text":"ping"`) { // see Message for the rest
			m.Respond([]byte("pong"))
		}
	})
	backend.Flush()

	subject, err := messagenats.Open(messagenats.Config{
		URL:     ns.ClientURL(),
		Subject: "chat.messages",
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer subject.Close()
	endpoint := server.PushEndpoint("/ws")
	endpoint.Respond = subject.Respond
	srv, err := server.New(server.Config{
		Listen:    "127.0.0.1:0",
		Endpoints: []server.Endpoint{endpoint},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(context.Background())
	if err := srv.Start(); err != nil {
		panic(err)
	}
	c, _, _, err := ws.Dial(context.Background(), "ws://"+srv.Addr().String()+"/ws?user=alice")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	if err := wsutil.WriteClientText(c, []byte("ping")); err != nil {
		panic(err)
	}
	answer, err := wsutil.ReadServerText(c)
	fmt.Println(string(answer), err)
	// Output: pong <nil>
}
