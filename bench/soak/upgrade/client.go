package upgrade

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// client is a session. It notes what is wrong with what it receives, and the longest delay.
type client struct {
	topic int

	mu      sync.Mutex
	next    int           // number of the next message of the topic. guarded by mu
	longest time.Duration // guarded by mu
	fault   string        // guarded by mu
	conn    net.Conn
}

// connect opens a session that subscribes to a topic.
func connect(addr string, secure bool, user string, topic int) (*client, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	if secure {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	}
	nc.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(nc, "GET /ws?user=%s&topic=t%d HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", user, topic, addr)
	r := bufio.NewReaderSize(nc, 512)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		nc.Close()
		return nil, fmt.Errorf("upgrade: handshake of %s: %v %v", user, resp, err)
	}
	nc.SetDeadline(time.Time{})
	c := &client{topic: topic, conn: nc}
	go c.read(r)
	return c, nil
}

// read reads frames until the connection ends.
func (c *client) read(r *bufio.Reader) {
	for {
		op, payload, err := readFrame(r)
		if err != nil {
			c.fail("disconnected: %v", err)
			return
		}
		switch op {
		case 1:
			c.received(string(payload))
		case 8:
			c.fail("closed with %d", binary.BigEndian.Uint16(append(payload, 0, 0)))
			return
		case 9:
			c.conn.Write(append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
		}
	}
}

// readFrame reads a frame of a server.
func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(r, head[2:4]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:]))
	}
	if n > 1<<16 {
		return 0, nil, fmt.Errorf("frame with the length %d", n)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0] & 15, payload, err
}

// received checks a message: its number, and the time at which it was to be pushed.
func (c *client) received(text string) {
	var n int
	var due int64
	if _, err := fmt.Fscanf(strings.NewReader(text), "%d %d", &n, &due); err != nil {
		c.fail("got %q", text)
		return
	}
	late := time.Since(time.Unix(0, due))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.longest = max(c.longest, late)
	if n != c.next && c.fault == "" {
		c.fault = fmt.Sprintf("got message %d of topic %d, and expected %d", n, c.topic, c.next)
	}
	c.next = n + 1
}

func (c *client) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == "" {
		c.fault = fmt.Sprintf(format, args...)
	}
}

// state returns the number of messages that have arrived, and what is wrong.
func (c *client) state() (got int, fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next, c.fault
}

// takeLongest returns the longest delay since the last call.
func (c *client) takeLongest() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.longest
	c.longest = 0
	return d
}
