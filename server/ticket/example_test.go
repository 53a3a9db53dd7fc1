package ticket_test

import (
	"bytes"
	"fmt"

	"fanfare/server"
	"fanfare/server/ticket"
)

// A ticket that one node has issued opens a session on another, which has the same key.
func Example() {
	cfg := ticket.Config{Keys: [][]byte{bytes.Repeat([]byte("k"), ticket.MinKey)}} // from a file of secrets
	first, err := ticket.New(cfg)
	if err != nil {
		panic(err)
	}
	second, err := ticket.New(cfg)
	if err != nil {
		panic(err)
	}
	sealed := first.Issue("/ws", &server.Identity{User: "alice", Topics: []string{"news"}})
	id, ok := second.Restore("/ws", sealed)
	fmt.Println(ok, id.User, id.Topics)
	_, ok = second.Restore("/admin", sealed)
	fmt.Println(ok)
	// Output:
	// true alice [news]
	// false
}
