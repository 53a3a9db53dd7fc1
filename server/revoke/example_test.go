package revoke_test

import (
	"context"
	"fmt"
	"time"

	"fanfare/server/revoke"
)

// Tokens that were issued to alice before she changed her password are not accepted any more.
func Example() {
	ctx := context.Background()
	list, err := revoke.New(ctx, revoke.Config{Age: 30 * 24 * time.Hour})
	if err != nil {
		panic(err)
	}
	defer list.Close()
	changed := time.Now().Add(-time.Minute)
	if _, err := list.Add(ctx, revoke.Entry{User: "alice", Before: float64(changed.Unix())}); err != nil {
		panic(err)
	}
	for _, issued := range []time.Time{changed.Add(-time.Hour), changed.Add(time.Second)} {
		fmt.Println(list.Check("alice", "", issued) == revoke.Revoked)
	}
	fmt.Println(list.Check("bob", "", changed.Add(-time.Hour)) == revoke.Revoked)
	// Output:
	// true
	// false
	// false
}
