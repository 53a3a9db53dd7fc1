package load

import (
	"bytes"
	"errors"
	"fmt"
)

// A dialect is what a server and its clients say around the payloads. Without one, each message is a payload, and a
// session is open when the handshake is over. With one, a session is open when the server has confirmed it: by then the
// client's token is checked and its subscriptions exist.
type dialect struct {
	// hello appends what a client sends first on a WebSocket.
	hello func(dst []byte, user uint32, token string) []byte
	// next reads the item at the start of a message, or of a stream of them.
	next func(in []byte) item
	// binary means that the client sends binary messages.
	binary bool
}

// An item is one thing that a server says. One with used 0 and no error is incomplete.
type item struct {
	what    what
	payload []byte // of a message
	answer  []byte // to a ping
	used    int
	err     error
}

type what uint8

const (
	isNothing   what = iota // for a load client
	isConfirmed             // the session is open
	isPing                  // a heartbeat
	isMessage               // a message
)

// Dialects of the servers that have their own.
const (
	Centrifugo = "centrifugo"
	NATS       = "nats"
)

// speak returns a dialect, nil for that of plain messages.
func speak(name string) (*dialect, error) {
	switch name {
	case "":
		return nil, nil
	case Centrifugo:
		return &centrifugo, nil
	case NATS:
		return &natsWS, nil
	}
	return nil, fmt.Errorf("load: unknown dialect %q", name)
}

// centrifugo is the unidirectional protocol of Centrifugo: the client sends one connect command, and the server JSON
// objects.
var centrifugo = dialect{
	hello: func(dst []byte, _ uint32, token string) []byte {
		return append(append(append(dst, `{"token":"`...), token...), `"}`...)
	},
	next: func(in []byte) item {
		switch in = bytes.TrimRight(in, "\n"); {
		case bytes.Equal(in, []byte("{}")):
			return item{what: isPing, used: len(in)}
		case bytes.HasPrefix(in, []byte(`{"connect":`)):
			return item{what: isConfirmed, used: len(in)}
		case !bytes.HasPrefix(in, []byte(`{"channel":"`)):
			return item{err: fmt.Errorf("unexpected message of Centrifugo: %.100q", in)}
		}
		// The payloads are JSON strings without escapes.
		const data = `,"pub":{"data":"`
		_, rest, ok := bytes.Cut(in, []byte(data))
		end := bytes.IndexByte(rest, '"')
		if !ok || end < 0 || !bytes.HasSuffix(rest, []byte("}}")) {
			return item{err: fmt.Errorf("unexpected publication of Centrifugo: %.100q", in)}
		}
		start := len(in) - len(rest) - 1
		return item{what: isMessage, payload: in[start : start+1+end+1], used: len(in)}
	},
}

// natsWS is NATS's own protocol, a stream that is divided into WebSocket messages anywhere.
var natsWS = dialect{
	binary: true,
	hello: func(dst []byte, user uint32, token string) []byte {
		return fmt.Appendf(dst, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,\"protocol\":1,\"lang\":\"load\",\"version\":\"1\",\"jwt\":%q}\r\n"+
			"SUB %s 1\r\nSUB %s 2\r\nPING\r\n", token, AllChannel, UserChannel(UserName(user)))
	},
	next: func(in []byte) item {
		end := bytes.Index(in, []byte("\r\n"))
		if end < 0 {
			if len(in) > 4<<10 {
				return item{err: errors.New("a line of NATS without an end")}
			}
			return item{}
		}
		line := in[:end]
		verb, rest, _ := bytes.Cut(line, []byte(" "))
		switch string(verb) {
		case "MSG":
			// MSG subject sid size
			at := bytes.LastIndexByte(rest, ' ')
			size, ok := decimal(rest[at+1:])
			if at < 0 || !ok || size > MaxSize {
				return item{err: fmt.Errorf("unexpected line of NATS: %.100q", line)}
			}
			start := end + 2
			if len(in) < start+size+2 {
				return item{}
			}
			if in[start+size] != '\r' || in[start+size+1] != '\n' {
				return item{err: fmt.Errorf("no end after the payload of %.100q", line)}
			}
			return item{what: isMessage, payload: in[start : start+size], used: start + size + 2}
		case "PING":
			return item{what: isPing, answer: []byte("PONG\r\n"), used: end + 2}
		case "PONG": // the server has processed what the client sent before
			return item{what: isConfirmed, used: end + 2}
		case "INFO", "+OK":
			return item{what: isNothing, used: end + 2}
		}
		return item{err: fmt.Errorf("unexpected line of NATS: %.100q", line)}
	},
}

func decimal(p []byte) (n int, ok bool) {
	for _, c := range p {
		if c < '0' || c > '9' || n > MaxSize {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(p) > 0
}

// AllChannel is the channel, topic or subject to which every session of a server with a dialect is subscribed.
const AllChannel = "all"

// UserChannel returns the name of the subject of one user.
func UserChannel(user string) string { return "user." + user }

// heard handles a message of a server with a dialect. k may be closed afterwards.
func (c *Client) heard(k *conn, op byte, in []byte) error {
	in = k.resume(in)
	used := 0
	for used < len(in) && k.fd >= 0 {
		next := c.speaks.next(in[used:])
		if next.err != nil {
			return next.err
		}
		if next.used == 0 {
			break
		}
		used += next.used
		c.said(k, op, next)
	}
	c.leave(k, in[used:])
	return nil
}

// said handles one thing that the server said. k may be closed afterwards.
func (c *Client) said(k *conn, op byte, i item) {
	switch i.what {
	case isConfirmed:
		if k.state == stateJoining {
			c.open(k)
		}
	case isPing:
		c.pings++
		if i.answer != nil {
			c.say(k, i.answer)
		}
	case isMessage:
		c.phase.message(k, op, i.payload)
	}
}

// say sends a message in the dialect.
func (c *Client) say(k *conn, p []byte) {
	op := byte(opText)
	if c.speaks.binary {
		op = opBinary
	}
	c.send(k, appendFrame(c.out[:0], op, p, c.key()))
}

// open makes a connection a session.
func (c *Client) open(k *conn) {
	k.state = stateOpen
	c.live++
	c.phase.opened(k)
}
