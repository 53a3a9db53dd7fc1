package identity_test

import (
	"fmt"

	"fanfare/server/identity"
)

// What a backend may change for the open sessions of a user.
func ExampleParseChange() {
	change, err := identity.ParseChange([]byte(`{"subscribe":["news","chat.*"]}`))
	if err != nil {
		panic(err)
	}
	id := identity.Identity{User: "alice", MayPublish: []string{"chat.7"}}
	identity.Apply(&change, &id)
	fmt.Println(identity.Covers(id.MaySubscribe, "chat.7"), identity.Covers(id.MaySubscribe, "prices"))
	fmt.Println(id.MayPublish)

	_, err = identity.ParseChange([]byte(`{"subscibe":[]}`)) // misspelled
	fmt.Println(err)
	// Output:
	// true false
	// [chat.7]
	// unknown member "subscibe": want expires, subscribe, publish, presence or limits
}
