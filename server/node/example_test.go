package node_test

import (
	"fmt"

	"github.com/gobwas/ws"

	"fanfare/server/node"
)

// Check rejects a command of another node that no server would send.
func ExampleCheck() {
	durable := func(string) bool { return false }
	c := node.Command{Verb: node.VerbPush, User: "alice", Op: ws.OpText, Payload: []byte("text")}
	fmt.Println(node.Check(&c, 1<<20, durable))
	c.Payload = []byte("\xff")
	fmt.Println(node.Check(&c, 1<<20, durable) != nil)
	// Output:
	// <nil>
	// true
}

// IDs of sessions say on which node they are.
func ExampleCutSessionID() {
	name, number, err := node.CutSessionID("b:8081/17")
	fmt.Println(name, number, err)
	// Output: b:8081 17 <nil>
}
