package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/cluster"
)

// printer is what a server is to its cluster.
type printer struct{}

func (printer) Serve(c *server.Command) server.Reply {
	fmt.Printf("push to %s: %s\n", c.User, c.Payload)
	return server.Reply{Count: 1}
}

func (printer) Missed() {}

// Two nodes, in one process. A server does all of this for its sessions when it is
// given the Cluster.
func ExampleNew() {
	ns, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	ns.Start()
	defer ns.Shutdown()
	ns.ReadyForConnections(10 * time.Second)

	ctx := context.Background()
	var nodes [2]*cluster.Cluster
	for i := range nodes {
		nodes[i], err = cluster.New(ctx, cluster.Config{
			URL:     ns.ClientURL(),
			Name:    fmt.Sprintf("node%d", i),
			Timeout: 10 * time.Second,
			Logger:  slog.New(slog.DiscardHandler),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer nodes[i].Leave()
		if err := nodes[i].Join(printer{}); err != nil {
			fmt.Println(err)
			return
		}
	}
	alice := server.Target{User: "alice"}
	nodes[0].Hold(alice) // a session of alice opens
	for !nodes[1].Shared(alice) {
		time.Sleep(time.Millisecond)
	}
	answer, err := nodes[1].Ask(ctx, alice, &server.Command{
		Verb: server.VerbPush, User: "alice", Op: server.Text, Payload: []byte("hello"),
	})
	fmt.Println(len(answer.Replies), answer.Missing, err)
	// Output:
	// push to alice: hello
	// 1 0 <nil>
}
