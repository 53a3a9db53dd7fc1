package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// client is the client of a device, with one connection after another. It is not
// safe for concurrent use.
type client struct {
	device *device
	// v1 clients use fanfare.v1: they resume from the last offset that they saw,
	// and acknowledge some messages. Others only answer pings.
	v1    bool
	seen  uint64
	epoch string                   // of seen
	ack   func(offset uint64) bool // whether to acknowledge

	connection int  // number of the present connection
	steady     bool // it stays connected
}

// connect dials a node.
func (c *client) connect(ctx context.Context, n *node) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	url := "ws://" + n.listen + "/ws?user=" + c.device.user
	opts := &websocket.DialOptions{HTTPClient: dialer}
	if c.v1 {
		url += "&offset=" + strconv.FormatUint(c.seen, 10) + "&epoch=" + c.epoch
		opts.Subprotocols = []string{"fanfare.v1"}
	}
	conn, _, err := websocket.Dial(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(4 << 20)
	if c.v1 && conn.Subprotocol() != "fanfare.v1" {
		conn.CloseNow()
		return nil, fmt.Errorf("fault: %s does not speak fanfare.v1", n.name)
	}
	c.connection++
	return conn, nil
}

// dialer keeps no connections.
var dialer = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// read reads until ctx ends or the connection breaks. It records a message before
// it reads the next bytes, so the pong to a following ping means that the message
// was received.
func (c *client) read(ctx context.Context, conn *websocket.Conn) error {
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if !c.v1 {
			c.receive(receipt{text: string(b)})
			continue
		}
		if err := c.envelope(ctx, conn, b); err != nil {
			return err
		}
	}
}

func (c *client) receive(r receipt) {
	r.connection = c.connection
	c.device.receive(r)
}

func (c *client) envelope(ctx context.Context, conn *websocket.Conn, b []byte) error {
	var m struct {
		Type, Text, Code, Message, Epoch string
		Offset                           uint64
		Gap                              bool
	}
	if err := json.Unmarshal(b, &m); err != nil {
		c.receive(receipt{text: string(b)}) // a violation
		return nil
	}
	switch m.Type {
	case "hello":
		if m.Epoch == "" { // the store is away; another hello follows
			return nil
		}
		if m.Epoch != c.epoch {
			c.epoch, c.seen = m.Epoch, m.Offset
		}
		c.receive(receipt{offset: m.Offset, epoch: m.Epoch, gap: m.Gap})
	case "message":
		c.receive(receipt{text: m.Text, offset: m.Offset, epoch: m.Epoch, gap: m.Gap})
		if m.Offset > 0 {
			if m.Epoch != c.epoch {
				c.epoch, c.seen = m.Epoch, 0
			}
			c.seen = max(c.seen, m.Offset)
		}
		if m.Offset > 0 && c.ack(m.Offset) {
			return conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ack","epoch":%q,"offset":%d}`, m.Epoch, m.Offset))
		}
	case "error":
		// The client may acknowledge a message of a storage that was replaced meanwhile.
		if m.Code != "bad_offset" || !c.device.h.mayMiss() {
			c.receive(receipt{text: string(b)}) // a violation
		}
	default:
		c.receive(receipt{text: string(b)})
	}
	return nil
}
