package load

import "errors"

// A part is the unfinished input and output of a connection. A Client reuses a few of them, because it collects no garbage
// while it measures.
type part struct {
	in, out []byte // an incomplete frame; bytes that the socket did not accept
	message []byte // the fragments received of a message (RFC 6455 section 5.4)
	op      byte   // of that message; 0: none
	rest    []byte // the unfinished end of a dialect's or an event's stream
}

var (
	errNoMessage = errors.New("continuation of no message (RFC 6455 section 5.4)")
	errInMessage = errors.New("new message among the fragments of another (RFC 6455 section 5.4)")
)

// join collects fragments. With the last one it returns the message, which is valid until k.joined. It returns a message of
// one frame as it is.
func (c *Client) join(k *conn, op byte, final bool, payload []byte) (byte, bool, []byte, error) {
	under := k.part != nil && k.part.op != 0
	switch {
	case op != opContinuation && under:
		return 0, false, nil, errInMessage
	case op != opContinuation && final:
		return op, true, payload, nil
	case op == opContinuation && !under:
		return 0, false, nil, errNoMessage
	}
	p := c.unfinished(k)
	if !under {
		p.op = op
	}
	if len(p.message)+len(payload) > MaxSize+1 {
		return 0, false, nil, errTooLong
	}
	p.message = append(p.message, payload...)
	return p.op, final, p.message, nil
}

// joined releases the message that join returned.
func (k *conn) joined() {
	if k.part != nil {
		k.part.op, k.part.message = 0, k.part.message[:0]
	}
}

// keep stores the incomplete end of what was read, and releases memory that it does not need.
func (c *Client) keep(k *conn, tail []byte) {
	switch p := k.part; {
	case len(tail) > 0:
		p = c.unfinished(k)
		p.in = append(p.in[:0], tail...)
	case p == nil:
	case len(p.out) == 0 && p.op == 0 && len(p.rest) == 0:
		c.finished(k)
	default:
		p.in = p.in[:0]
	}
}

// resume returns the next piece of a stream, after the end of it that leave has kept.
func (k *conn) resume(piece []byte) []byte {
	if k.part == nil || len(k.part.rest) == 0 {
		return piece
	}
	k.part.rest = append(k.part.rest, piece...)
	return k.part.rest
}

// leave keeps the unfinished end of a stream, unless the connection is closed.
func (c *Client) leave(k *conn, rest []byte) {
	switch {
	case k.fd < 0:
	case len(rest) > 0:
		p := c.unfinished(k)
		p.rest = append(p.rest[:0], rest...)
	case k.part != nil:
		k.part.rest = k.part.rest[:0]
	}
}

// unfinished returns the part of a connection, which gets one if it has none.
func (c *Client) unfinished(k *conn) *part {
	if k.part == nil {
		if n := len(c.parts); n > 0 {
			k.part, c.parts = c.parts[n-1], c.parts[:n-1]
		} else {
			k.part = new(part)
		}
	}
	return k.part
}

// finished releases the part.
func (c *Client) finished(k *conn) {
	if p := k.part; p != nil {
		*p = part{in: p.in[:0], message: p.message[:0], rest: p.rest[:0]}
		c.parts, k.part = append(c.parts, p), nil
	}
}
