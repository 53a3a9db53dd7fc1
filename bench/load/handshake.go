package load

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// connected begins the handshake of a new connection.
func (c *Client) connected(k *conn) {
	if c.cfg.TLS {
		c.secure(k)
		return
	}
	c.request(k)
}

// request sends the request of the opening handshake (RFC 6455 section 4.1).
func (c *Client) request(k *conn) {
	d, ok := c.phase.(dialer)
	if !ok {
		c.drop(k) // too late: Dial has counted it
		return
	}
	k.state = stateGreeting
	path := d.request(k.user)
	host := c.cfg.Host
	if host == "" {
		host = c.cfg.Addr.String()
	}
	b := c.out[:0]
	b = append(append(append(b, "GET "...), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	b = append(k.appendKey(b), "\r\n\r\n"...)
	c.send(k, b)
}

// A dialer is a phase that opens connections.
type dialer interface {
	request(user uint32) (path string)
}

func (d *dialling) request(user uint32) string { return d.c.expand(d.plan.Path, user, d.plan.Topics) }

func (c *Client) expand(path string, user uint32, topics *Topics) string {
	path = strings.ReplaceAll(path, "{user}", UserName(user))
	if strings.Contains(path, "{token}") {
		path = strings.ReplaceAll(path, "{token}", c.tokens.of(c.cfg.Secret, user))
	}
	if topics != nil {
		path = strings.ReplaceAll(path, "{topics}", topics.Query(user))
	}
	return path
}

// appendKey appends the nonce: 16 bytes that are unique to the connection and are not stored.
func (k *conn) appendKey(dst []byte) []byte {
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], uint64(k.at))
	binary.BigEndian.PutUint32(nonce[8:], k.user)
	binary.BigEndian.PutUint32(nonce[12:], uint32(k.fd))
	return base64.StdEncoding.AppendEncode(dst, nonce[:])
}

// greeted reads the response to the opening handshake; used is 0 while it is incomplete.
func (c *Client) greeted(k *conn, in []byte) (used int) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		if len(in) > 16<<10 {
			c.end(k, "the answer to the handshake has no end")
		}
		return 0
	}
	if why := k.refusal(in[:end+2]); why != "" {
		c.end(k, why)
		return 0
	}
	k.state = stateOpen
	c.live++
	c.phase.opened(k)
	return end + 4
}

// refusal returns what is wrong with the response (RFC 6455 section 4.1, the list in its second half).
func (k *conn) refusal(head []byte) string {
	status, rest, _ := strings.Cut(string(head), "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101") {
		return "handshake: " + status
	}
	key := append(k.appendKey(nil), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)
	sum := sha1.Sum(key)
	want := base64.StdEncoding.EncodeToString(sum[:])
	var accepted, upgrade, connection bool
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Sec-WebSocket-Accept"):
			accepted = value == want
		case strings.EqualFold(name, "Upgrade"):
			upgrade = strings.EqualFold(value, "websocket")
		case strings.EqualFold(name, "Connection"):
			connection = strings.Contains(strings.ToLower(value), "upgrade")
		case strings.EqualFold(name, "Sec-WebSocket-Extensions"):
			return "handshake: an extension that was not offered"
		}
	}
	if !accepted || !upgrade || !connection {
		return fmt.Sprintf("handshake: Sec-WebSocket-Accept right %t, Upgrade right %t, Connection right %t", accepted, upgrade, connection)
	}
	return ""
}
