package publisher

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// replyPrefix is what the subjects of answers begin with. The ID of the connection follows, so that
// no connection gets late answers for another, and the place of the message in its group. As
// subjects are few, the server finds them in its cache.
const replyPrefix = "_INBOX.fanfare."

// connID is the ID of a connection in subjects.
type connID [8]byte

var connections atomic.Uint32

func newConnID() (id connID) {
	copy(id[:], fmt.Sprintf("%08x", connections.Add(1)))
	return id
}

// hello opens a connection; a subscription to the answers follows.
const hello = `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1,"lang":"go","name":"fanfare publisher"}` + "\r\n"

var (
	// ErrNoStream reports that no stream has the subject of a message.
	ErrNoStream = errors.New("publisher: no stream answers")
	// ErrDisconnected reports that Disconnect was called before the answer came.
	ErrDisconnected = errors.New("publisher: disconnected")
)

// conn is a connection to the server, used by one leader at a time.
type conn struct {
	net.Conn
	id      connID
	in      *bufio.Reader
	timeout time.Duration
	timer   *time.Timer           // closes the connection
	cause   atomic.Pointer[error] // why we closed it; nil: we did not
}

func newConn(nc net.Conn, timeout time.Duration) *conn {
	c := &conn{Conn: nc, id: newConnID(), in: bufio.NewReaderSize(nc, 16<<10), timeout: timeout}
	c.timer = time.AfterFunc(timeout, func() {
		c.closeFor(fmt.Errorf("publisher: no answer within %v: %w", timeout, context.DeadlineExceeded))
	})
	return c
}

// closeFor closes the connection; what is in progress fails with cause.
func (c *conn) closeFor(cause error) {
	c.cause.CompareAndSwap(nil, &cause)
	c.Close()
}

// greet begins the connection.
func (c *conn) greet() error {
	defer c.timer.Stop()
	info, err := c.in.ReadSlice('\n') // INFO
	if err == nil && !bytes.HasPrefix(info, []byte("INFO ")) {
		err = fmt.Errorf("the server says %.40q, want INFO", info)
	}
	if err == nil {
		_, err = fmt.Fprintf(c.Conn, "%sSUB %s%s.* 1\r\nPING\r\n", hello, replyPrefix, c.id[:])
	}
	for err == nil {
		var line []byte
		if line, err = c.line(); string(line) == "PONG" {
			return nil
		}
	}
	return c.wrap(err)
}

// exchange sends a group and hands out the answers. sent is how much of it the server has read.
func (c *conn) exchange(g *group) (sent int, err error) {
	g.address(c.id)
	c.timer.Reset(c.timeout)
	defer c.timer.Stop()
	if sent, err = c.Write(g.out); err != nil {
		return sent, c.wrap(err)
	}
	for range g.requests {
		if err := c.answer(g); err != nil {
			return sent, c.wrap(err)
		}
	}
	return sent, nil
}

// wrap returns why the connection was closed, if we closed it.
func (c *conn) wrap(err error) error {
	if cause := c.cause.Load(); cause != nil {
		return *cause
	}
	return fmt.Errorf("publisher: %w", err)
}

// line returns the next line of the protocol without its end. It answers a PING, and returns
// an error that the server reports.
func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	line = bytes.TrimRight(line, "\r\n")
	switch {
	case string(line) == "PING":
		_, err = io.WriteString(c.Conn, "PONG\r\n")
	case bytes.HasPrefix(line, []byte("-ERR")):
		err = fmt.Errorf("the server says %.200s", line)
	}
	return line, err
}

// answer reads the next answer to a message of the group and hands it out:
//
//	MSG subject sid length
//	HMSG subject sid header-length length
func (c *conn) answer(g *group) error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		rest, ok := bytes.CutPrefix(line, []byte("MSG "+replyPrefix))
		if !ok {
			if rest, ok = bytes.CutPrefix(line, []byte("HMSG "+replyPrefix)); !ok {
				continue
			}
		}
		r, length, err := g.addressee(rest, c.id)
		if err != nil {
			return fmt.Errorf("answer %.80q: %w", line, err)
		}
		noStream := line[0] == 'H' // the only answer with a header is "503": no responders
		data := make([]byte, length+len("\r\n"))
		if _, err := io.ReadFull(c.in, data); err != nil {
			return err
		}
		if noStream {
			r.finish(nil, ErrNoStream)
		} else {
			r.finish(data[:length], nil)
		}
		return nil
	}
}

// maxAnswer is more than any answer to a message takes, in bytes.
const maxAnswer = 8 << 10

// addressee parses what follows replyPrefix in the first line of an answer.
func (g *group) addressee(rest []byte, id connID) (r *request, length int, err error) {
	subject, rest, _ := bytes.Cut(rest, []byte(" "))
	place, ours := bytes.CutPrefix(subject, id[:])
	if !ours {
		return nil, 0, errors.New("unknown subject")
	}
	place = bytes.TrimPrefix(place, []byte("."))
	i, err := strconv.Atoi(string(place))
	if err != nil || i < 0 || i >= len(g.requests) || g.requests[i].done {
		return nil, 0, fmt.Errorf("message %.20q does not wait for one", place)
	}
	digits := rest[bytes.LastIndexByte(rest, ' ')+1:]
	length, err = strconv.Atoi(string(digits))
	if err != nil || length < 0 || length > maxAnswer {
		return nil, 0, fmt.Errorf("bad length %.20q", digits)
	}
	return g.requests[i], length, nil
}
