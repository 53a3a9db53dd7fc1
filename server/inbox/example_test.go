package inbox_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"fanfare/server/inbox"
	"fanfare/server/store"
)

// A message is stored, read by the session of its user, and acknowledged.
func Example() {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s, err := inbox.Open(ctx, inbox.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	alice := store.Box{User: "alice"}
	if _, err := s.Begin(alice, store.Entry{Payload: []byte("hello")}).Finish(ctx); err != nil {
		log.Fatal(err)
	}

	acked, _, err := s.Acked(ctx, alice, "alice")
	if err != nil {
		log.Fatal(err)
	}
	page, err := s.Read(ctx, alice, acked, 64<<10)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range page.Messages {
		fmt.Printf("%d: %s\n", m.Offset, m.Payload)
		acked = m.Offset
	}
	fmt.Println("missed messages:", page.Gap)
	if err := s.AckSync(ctx, alice, "alice", acked); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1: hello
	// missed messages: false
}

// A client resumes where it was, unless the store is another one meanwhile, such as
// a restored backup.
func ExampleStore_Continues() {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s, err := inbox.Open(ctx, inbox.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	alice := store.Box{User: "alice"}
	r, err := s.Begin(alice, store.Entry{Payload: []byte("hello")}).Finish(ctx)
	if err != nil {
		log.Fatal(err)
	}
	same, err := s.Continues(ctx, alice, s.Epoch(alice), r.Offset)
	if err != nil {
		log.Fatal(err)
	}
	other, err := s.Continues(ctx, alice, "epoch of another store", r.Offset)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(same, other)
	// Output: true false
}
