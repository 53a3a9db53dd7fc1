package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestThreeNodes checks that three nodes with an external NATS cluster act as one
// service, also when a node is killed and when NATS is down for a while.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	c, err := newCluster(ctx, t.TempDir(), shape{programs: programs(t), nats: 3, nodes: 3, args: []string{"--inbox-window", "1m"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	// user0 is on node 0 and so on; everywhere is on all nodes.
	var clients []*tester
	for i, n := range c.nodes {
		clients = append(clients, connect(t, n, fmt.Sprintf("user%d", i)), connect(t, n, "everywhere"))
	}
	everywhere := func(user string) (all []*tester) {
		for _, x := range clients {
			if x.user == user {
				all = append(all, x)
			}
		}
		return all
	}
	// Nodes take a moment to learn of each other.
	for _, n := range c.nodes {
		wait(t, time.Minute, func() error { return counts(n, "everywhere", 3) })
		for u := range c.nodes {
			wait(t, time.Minute, func() error { return counts(n, fmt.Sprintf("user%d", u), 1) })
		}
		wait(t, time.Minute, func() error {
			var topic struct{ Subscribers int }
			err := n.call(ctx, "GET", "/v1/topics/news", nil, &topic)
			if err == nil && topic.Subscribers != 6 {
				err = fmt.Errorf("%d subscribers of news, want 6", topic.Subscribers)
			}
			return err
		})
	}

	for i, n := range c.nodes {
		for u := range c.nodes {
			user, message := fmt.Sprintf("user%d", u), fmt.Sprintf("from node %d", i)
			if s, err := n.push(ctx, user, "", message); err != nil || s.Receivers != 1 {
				t.Errorf("push from node %d to %s: %+v, %v", i, user, s, err)
			}
			everywhere(user)[0].want(message)
		}
		push(t, n, "/v1/users/everywhere/push", "all devices", 3)
		push(t, n, "/v1/topics/news/push", "a topic", 6)
		push(t, n, "/v1/broadcast", "a broadcast", 6)
		for _, x := range clients {
			if x.user == "everywhere" {
				x.want("all devices")
			}
			x.want("a topic")
			x.want("a broadcast")
		}
		var topic struct{ Subscribers int }
		if err := n.call(ctx, "GET", "/v1/topics/news", nil, &topic); err != nil || topic.Subscribers != 6 {
			t.Errorf("node %d counts %+v subscribers, %v", i, topic, err)
		}
	}

	// A kick from a node that does not hold the user.
	var kicked struct{ Closed int }
	if err := c.nodes[0].call(ctx, "DELETE", "/v1/users/user1?code=4001", nil, &kicked); err != nil || kicked.Closed != 1 {
		t.Errorf("kick: %+v, %v", kicked, err)
	}
	if err := everywhere("user1")[0].gone(); websocket.CloseStatus(err) != 4001 {
		t.Errorf("the closed client receives %v", err)
	}
	for _, n := range c.nodes {
		wait(t, time.Minute, func() error { return counts(n, "user1", 0) })
	}

	// The sessions of a killed node disappear.
	c.nodes[2].kill()
	for _, n := range c.nodes[:2] {
		wait(t, time.Minute, func() error { return counts(n, "user2", 0) })
		wait(t, time.Minute, func() error { return counts(n, "everywhere", 2) })
	}
	if s, err := c.nodes[0].push(ctx, "user2", "kept", "for an absent user"); err != nil || s.Receivers != 0 {
		t.Errorf("durable push: %+v, %v", s, err)
	}
	connect(t, c.nodes[1], "user2").want("for an absent user")
	t.Run("outage", func(t *testing.T) { outage(t, c, everywhere("user0")[0]) })
}

// outage stops all NATS servers. online is connected to the first node.
func outage(t *testing.T, c *cluster, online *tester) {
	n := c.nodes[0]
	before, err := n.push(ctx, online.user, "before", "before")
	if err != nil {
		t.Fatal(err)
	}
	online.want("before")
	for _, p := range c.nats {
		p.kill()
	}
	wait(t, time.Minute, func() error {
		if err := n.isReady(ctx); status(err) != 503 {
			return fmt.Errorf("healthz?strict: %v", err)
		}
		return nil
	})
	if s, err := n.push(ctx, online.user, "", "local"); err != nil || s.Receivers != 1 {
		t.Errorf("live push: %+v, %v", s, err)
	}
	online.want("local")
	began := time.Now()
	_, err = n.push(ctx, online.user, "during", "during")
	if status(err) != 503 || !strings.Contains(err.Error(), "not available") {
		t.Errorf("durable push: %v", err)
	}
	t.Logf("durable push: %v after %v", err, time.Since(began).Round(time.Millisecond))
	if err := c.restore(ctx, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	var after stored
	wait(t, time.Minute, func() (err error) {
		after, err = n.push(ctx, online.user, "during", "during")
		return err
	})
	if after.Offset <= before.Offset {
		t.Errorf("offset %d after %d", after.Offset, before.Offset)
	}
	online.want("during")
}

// sessions returns the number of a user's sessions on all nodes.
func (n *node) sessions(ctx context.Context, user string) (int, error) {
	var answer struct {
		Sessions []json.RawMessage `json:"sessions"`
	}
	err := n.call(ctx, "GET", "/v1/users/"+url.PathEscape(user), nil, &answer)
	return len(answer.Sessions), err
}

func counts(n *node, user string, want int) error {
	got, err := n.sessions(ctx, user)
	if err == nil && got != want {
		err = fmt.Errorf("%s counts %d sessions of %s, want %d", n.name, got, user, want)
	}
	return err
}

func push(t *testing.T, n *node, path, message string, want int) {
	t.Helper()
	var s stored
	if err := n.call(ctx, "POST", path, []byte(message), &s); err != nil || s.Receivers != want {
		t.Errorf("%s on %s: %d receivers, %v; want %d", path, n.name, s.Receivers, err, want)
	}
}

func wait(t *testing.T, limit time.Duration, f func() error) {
	t.Helper()
	if err := until(ctx, limit, func(context.Context) error { return f() }); err != nil {
		t.Error(err)
	}
}

// tester is a plain connection that subscribes to news.
type tester struct {
	t    *testing.T
	user string
	conn *websocket.Conn
	come chan string // closed when the connection has ended
	err  error       // why it ended
}

func connect(t *testing.T, n *node, user string) *tester {
	t.Helper()
	dial, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(dial, "ws://"+n.listen+"/ws?topic=news&user="+user, &websocket.DialOptions{HTTPClient: dialer})
	if err != nil {
		t.Fatal(err)
	}
	x := &tester{t: t, user: user, conn: conn, come: make(chan string, 1000)}
	t.Cleanup(func() { conn.CloseNow() })
	go func() {
		defer close(x.come)
		for {
			_, b, err := conn.Read(context.Background())
			if err != nil {
				x.err = err
				return
			}
			x.come <- string(b)
		}
	}()
	return x
}

// want receives the next message, which must be this one.
func (x *tester) want(message string) {
	x.t.Helper()
	select {
	case got, ok := <-x.come:
		if !ok || got != message {
			x.t.Errorf("%s received %q (%v), want %q", x.user, got, x.err, message)
		}
	case <-time.After(time.Minute):
		x.t.Errorf("%s received nothing, want %q", x.user, message)
	}
}

// gone waits until the connection has ended, and returns the error.
func (x *tester) gone() error {
	late := time.After(time.Minute)
	for {
		select {
		case got, ok := <-x.come:
			if !ok {
				return x.err
			}
			x.t.Errorf("%s received %q after it was closed", x.user, got)
		case <-late:
			return context.DeadlineExceeded
		}
	}
}
