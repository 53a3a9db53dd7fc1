package fault

import (
	"context"
	"fmt"
	"time"
)

// answered puts a proxy that answers pings between clients and a node, and makes it lose messages that it had
// received.
func answered(ack string) *stage {
	return &stage{
		shape:  shape{nodes: 1, args: []string{"--plain-ack", ack}},
		steady: true,
		prepare: func(t *trial) (err error) {
			n := t.nodes[0]
			if t.links, err = newAnswering(t.net.home().ip, n.listen); err == nil {
				n.listen = t.links.listen
			}
			return err
		},
		round: func(t *trial) error { return t.loseInProxy(ack == "none") },
	}
}

// loseInProxy makes the proxy fail when it has messages that the clients do not.
func (t *trial) loseInProxy(safe bool) error {
	n, user := t.nodes[0], t.users[0] // the user has one plain session, and stays connected
	t.links.stall()
	err := until(t.ctx, 20*time.Second, func(context.Context) error {
		if t.links.holds(user) == 0 {
			return fmt.Errorf("the proxy has no message for %s", user)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The server believes that what it has stored until now was read, or must not believe it.
	last, err := n.push(t.ctx, prober, fmt.Sprint("in proxy ", t.number), "probe")
	if err != nil {
		return err
	}
	if !safe {
		err = until(t.ctx, 20*time.Second, func(ctx context.Context) error { return n.hasRead(ctx, user, last.Offset) })
		if err != nil {
			return err
		}
		// docs/messages.md announces the loss for plain sessions, in the section on such proxies.
		t.history.announce(loss{what: "documentation", epochs: map[string]bool{last.Epoch: true}, most: -1})
	} else {
		t.pause(t.end, betweenRounds)
		if err := n.hasRead(t.ctx, user, 1); err == nil {
			return fmt.Errorf("with --plain-ack none the pong of the proxy acknowledges messages of %s", user)
		}
	}
	t.tell("the proxy fails with %d messages for %s", t.links.holds(user), user)
	t.links.fail()
	return nil
}

// hasRead returns an error unless a user has acknowledged messages up to an offset.
func (n *node) hasRead(ctx context.Context, user string, offset uint64) error {
	var inbox struct{ Acked uint64 }
	err := n.call(ctx, "GET", "/v1/users/"+user+"/inbox", nil, &inbox)
	if err == nil && inbox.Acked < offset {
		err = fmt.Errorf("%s has acknowledged messages up to %d, not %d", user, inbox.Acked, offset)
	}
	return err
}
