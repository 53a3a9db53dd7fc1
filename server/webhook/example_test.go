package webhook_test

import (
	"context"
	"log"
	"time"

	"fanfare/server"
	"fanfare/server/webhook"
)

// A program that embeds the server reports events to a webhook.
func Example() {
	secrets, err := webhook.ParseSecrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	events, err := webhook.Open(ctx, webhook.Config{
		Hooks:        []webhook.Hook{{URL: "https://app.example.com/fanfare", Events: []string{"user.*"}}},
		Secrets:      secrets,
		Node:         "a",
		OfflineGrace: 10 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Observer: events})
	if err != nil {
		log.Fatal(err)
	}
	srv.Shutdown(ctx)
	bound, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	events.Close(bound) // last, because Shutdown ends sessions
}
