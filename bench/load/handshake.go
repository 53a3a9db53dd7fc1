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
	if c.cfg.Events {
		c.send(k, appendEventRequest(c.out[:0], path, c.host()))
		return
	}
	b := c.out[:0]
	b = append(append(append(b, "GET "...), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, c.host()...), "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	b = append(k.appendKey(b), "\r\n\r\n"...)
	c.send(k, b)
}

func (c *Client) host() string {
	if c.cfg.Host != "" {
		return c.cfg.Host
	}
	return c.cfg.Addr.String()
}

// A dialer is a phase that opens connections.
type dialer interface {
	request(user uint32) (path string)
	token(user uint32) string
}

func (d *dialling) request(user uint32) string {
	return expand(d.plan.Path, user, d.token(user), d.plan.Topics)
}

func (d *dialling) token(user uint32) string { return tokenOf(user-d.plan.First, d.plan.Tokens) }

// tokenOf returns the i-th token, or "" where there are none.
func tokenOf(i uint32, tokens []string) string {
	if int(i) < len(tokens) {
		return tokens[i]
	}
	return ""
}

func expand(path string, user uint32, token string, topics *Topics) string {
	path = strings.NewReplacer("{user}", UserName(user), "{token}", token).Replace(path)
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
	refusal := k.refusal
	if c.cfg.Events {
		refusal = k.noEvents
	}
	if why := refusal(in[:end+2]); why != "" {
		c.end(k, why)
		return 0
	}
	if c.speaks == nil {
		c.open(k)
		return end + 4
	}
	k.state = stateJoining
	if d, ok := c.phase.(dialer); ok && !c.cfg.Events {
		c.say(k, c.speaks.hello(nil, k.user, d.token(k.user)))
	}
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
