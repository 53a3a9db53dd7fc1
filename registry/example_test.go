package registry_test

import (
	"fmt"
	"time"

	"fanfare/registry"
)

// client is a session with its places in a Registry and in a Wheel.
type client struct {
	entry registry.Entry[*client]
	timer registry.Timer[*client]
}

func ExampleRegistry() {
	r := registry.New(func(c *client) *registry.Entry[*client] { return &c.entry }, registry.Limits{})
	phone, laptop := &client{}, &client{}
	for _, c := range []*client{phone, laptop} {
		if err := r.Join("alice", c); err != nil {
			fmt.Println(err)
			return
		}
	}
	if _, err := r.Subscribe(phone, "news"); err != nil {
		fmt.Println(err)
		return
	}
	var receivers []*client // reused from push to push
	receivers = r.AppendUser(receivers[:0], "alice")
	fmt.Println("alice:", len(receivers))
	receivers = r.AppendTopic(receivers[:0], "news")
	fmt.Println("news:", len(receivers))

	r.Leave(phone)
	fmt.Println("users:", r.Users(), "topics:", r.Topics())
	// Output:
	// alice: 2
	// news: 1
	// users: 1 topics: 0
}

func ExampleWheel() {
	const interval = 25 * time.Second
	w := registry.NewWheel(func(c *client) *registry.Timer[*client] { return &c.timer }, 100*time.Millisecond, 512)
	c := &client{}
	w.Schedule(c, interval)
	for _, now := range []time.Duration{24 * time.Second, 25 * time.Second, 50 * time.Second} {
		w.Advance(now, func(c *client) {
			fmt.Println("ping at", now)
			w.Schedule(c, now+interval)
		})
	}
	fmt.Println("stopped:", w.Stop(c))
	// Output:
	// ping at 25s
	// ping at 50s
	// stopped: true
}
