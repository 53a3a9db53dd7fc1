package store_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"fanfare/server/inbox"
	"fanfare/server/store"
)

// Package server uses a Store like this: it appends, delivers messages that a user has not
// acknowledged, and records acknowledgements.
func ExampleStore() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	var messages store.Store
	if messages, err = inbox.Open(ctx, inbox.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		log.Fatal(err)
	}
	defer messages.Close()

	alice := store.Box{User: "alice"}
	for _, text := range []string{"one", "two", "three"} {
		// Begin takes the place in the order; Finish returns when the message is stored.
		r, err := messages.Begin(alice, store.Entry{Payload: []byte(text)}).Finish(ctx)
		fmt.Println(text, "has offset", r.Offset, "after", r.Prev, err)
	}
	messages.AckSync(ctx, alice, "alice", 1)

	after, known, err := messages.Acked(ctx, alice, "alice")
	fmt.Println("acknowledged:", after, known, err)
	page, err := messages.Read(ctx, alice, after, 1<<10)
	for _, m := range page.Messages {
		fmt.Println("unread:", m.Offset, string(m.Payload))
	}
	fmt.Println("gap:", page.Gap, err)
	// Output:
	// one has offset 1 after 0 <nil>
	// two has offset 2 after 1 <nil>
	// three has offset 3 after 2 <nil>
	// acknowledged: 1 true <nil>
	// unread: 2 two
	// unread: 3 three
	// gap: false <nil>
}
