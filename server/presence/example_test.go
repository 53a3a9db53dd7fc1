package presence_test

import (
	"context"
	"fmt"
	"log/slog"

	"fanfare/server"
	"fanfare/server/presence"
)

// output reports to the standard output. A program with webhooks uses a webhook.Service.
type output struct{}

func (output) Lead(context.Context) error { return nil }
func (output) Resign()                    {}

func (output) Report(_ context.Context, events []server.Event, _ []string) error {
	for _, e := range events {
		fmt.Println(e.Kind, e.User)
	}
	return nil
}

// Each node of a cluster has a Service, which starts although NATS is away.
func Example() {
	quiet := slog.New(slog.DiscardHandler)
	online, err := presence.Open(presence.Config{URL: "nats://127.0.0.1:1", Reporter: output{}, Logger: quiet})
	if err != nil {
		panic(err)
	}
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Observer: online, Logger: quiet})
	if err != nil {
		panic(err)
	}
	fmt.Println(online.Wants(server.UserOnline), online.Wants(server.SessionOpened), online.Leads())
	srv.Shutdown(context.Background())
	online.Close()
	// Output: true false false
}
