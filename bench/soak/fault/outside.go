package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// wiped removes the storage of an outside NATS. Sometimes the nodes start anew, too, and know nothing of what was
// stored.
var wiped = &stage{shape: shape{nats: 1, nodes: 2}, round: (*trial).wipe}

func (t *trial) wipe() error {
	p := t.nats[0]
	old := t.history.saw("")
	restart := t.number%2 == 1
	if restart {
		for _, n := range t.nodes {
			n.kill()
		}
	}
	p.kill()
	if err := os.RemoveAll(filepath.Join(t.dir, p.name)); err != nil {
		return err
	}
	t.history.startBreak()
	if err := p.start(); err != nil {
		return err
	}
	t.tell("NATS has lost its storage; the nodes start anew: %v", restart)
	if restart {
		for _, n := range t.nodes {
			if err := n.ready(t.ctx, calmTime); err != nil {
				return err
			}
		}
	}
	// The epoch in the answers announces the loss.
	for _, n := range t.nodes {
		err := until(t.ctx, calmTime, func(context.Context) error {
			epoch, err := t.probe(n)
			if err == nil && old[epoch] {
				err = fmt.Errorf("%s stores messages in the old epoch %s", n.name, epoch)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	t.history.announce(loss{what: "epoch", epochs: old, most: -1, voids: true})
	return nil
}

const (
	defaultPayload = 1 << 20 // max_payload of NATS
	narrowPayload  = 64 << 10
)

// narrowed gives an outside NATS a max_payload of 64 KiB, and in each other round its default again.
var narrowed = &stage{shape: shape{nats: 1, nodes: 2}, padding: 2 * narrowPayload, round: (*trial).narrow}

func (t *trial) narrow() error {
	p := t.nats[0]
	limit := narrowPayload
	if t.number%2 == 1 {
		limit = defaultPayload
	}
	config := filepath.Join(t.dir, p.name+".conf")
	b, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	text, _, _ := strings.Cut(string(b), "max_payload:")
	if err := os.WriteFile(config, fmt.Appendf([]byte(text), "max_payload: %d\n", limit), 0o600); err != nil {
		return err
	}
	p.stop()
	if err := p.start(); err != nil {
		return err
	}
	t.tell("max_payload is %d", limit)
	for i, n := range t.nodes {
		if err := n.ready(t.ctx, calmTime); err != nil {
			return err
		}
		// The headers of a message take up to 4 KiB.
		for _, size := range []int{limit - 5<<10, limit, limit + 1} {
			if err := t.pushLarge(n, fmt.Sprintf("%s %d %d", n.name, t.number, size), size, size < limit); err != nil {
				return err
			}
		}
		// max_payload does not bound live messages, which travel in parts.
		if err := t.pushAcross(n, t.nodes[1-i]); err != nil {
			return err
		}
	}
	return nil
}

// pushLarge pushes a durable message for a user without devices, which must be stored, or rejected as too large.
func (t *trial) pushLarge(n *node, id string, size int, fits bool) error {
	var answer error
	err := until(t.ctx, 20*time.Second, func(ctx context.Context) error {
		_, answer = n.push(ctx, prober, id, strings.Repeat("x", size))
		if answer == nil || status(answer) == http.StatusRequestEntityTooLarge {
			return nil
		}
		return answer // NATS has just been started
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s does not answer a message of %d bytes: %w", n.name, size, err)
	case fits && answer != nil:
		return fmt.Errorf("%s rejects a message of %d bytes: %w", n.name, size, answer)
	case !fits && answer == nil:
		return fmt.Errorf("%s stores a message of %d bytes", n.name, size)
	}
	return nil
}

// pushAcross pushes a live message through one node to a session of another. It travels in several parts.
func (t *trial) pushAcross(from, to *node) error {
	ctx, cancel := context.WithTimeout(t.ctx, 30*time.Second)
	defer cancel()
	c := &client{device: newHistory().device("traveller", "", false)}
	conn, err := c.connect(ctx, to)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	message := strings.Repeat("y", 3*narrowPayload)
	err = until(ctx, 20*time.Second, func(ctx context.Context) error { // until the nodes know each other again
		s, err := from.push(ctx, c.device.user, "", message)
		if err == nil && s.Receivers != 1 {
			err = fmt.Errorf("a live message has %d receivers", s.Receivers)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("from %s to %s: %w", from.name, to.name, err)
	}
	_, b, err := conn.Read(ctx)
	if err == nil && string(b) != message {
		err = fmt.Errorf("%d bytes arrived, not the message", len(b))
	}
	if err != nil {
		return fmt.Errorf("from %s to %s, a live message of %d bytes: %w", from.name, to.name, len(message), err)
	}
	return nil
}
