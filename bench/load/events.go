package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// appendEventRequest appends a request for a stream of server-sent events.
func appendEventRequest(dst []byte, path, host string) []byte {
	return fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", path, host)
}

// noEvents returns what is wrong with the head of the response, or "".
func (k *conn) noEvents(head []byte) string {
	status, rest, _ := strings.Cut(string(head), "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 200") {
		return "request of events: " + status
	}
	events := false
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Content-Type"):
			kind, _, _ := strings.Cut(value, ";")
			events = kind == "text/event-stream"
		case strings.EqualFold(name, "Transfer-Encoding"):
			k.parts = strings.EqualFold(value, "chunked")
		}
	}
	if !events {
		return "the response is not text/event-stream"
	}
	return ""
}

// streamed handles the bytes of a stream of events and returns how many it has used.
func (c *Client) streamed(k *conn, in []byte) (used int) {
	for k.fd >= 0 && used < len(in) {
		text, n := in[used:], len(in)-used
		var err error
		if k.parts {
			if text, n, err = nextChunk(in[used:]); err == nil && n == 0 {
				return used
			}
		}
		if err == nil {
			err = c.lines(k, text)
		}
		if err != nil {
			c.faults.count(&c.faults.Protocol, "user %d: %v", k.user, err)
			c.drop(k)
			return used
		}
		used += n
	}
	return used
}

var (
	errChunk   = errors.New("malformed chunk (RFC 9112 section 7.1)")
	errStopped = errors.New("the server has ended the stream")
)

// nextChunk parses a chunk; n is 0 while it is incomplete.
func nextChunk(in []byte) (data []byte, n int, err error) {
	end := bytes.Index(in, []byte("\r\n"))
	if end < 0 {
		return nil, 0, nil
	}
	size, err := strconv.ParseUint(string(in[:end]), 16, 31)
	switch {
	case err != nil:
		return nil, 0, errChunk
	case size == 0:
		return nil, 0, errStopped
	}
	start := end + 2
	if n = start + int(size) + 2; len(in) < n {
		return nil, 0, nil
	}
	if in[n-2] != '\r' || in[n-1] != '\n' {
		return nil, 0, errChunk
	}
	return in[start : n-2], n, nil
}

// lines handles a piece of the text of the stream: lines, of which an empty one ends an event.
func (c *Client) lines(k *conn, text []byte) error {
	text = k.resume(text)
	used := 0
	for k.fd >= 0 {
		end := bytes.Index(text[used:], []byte("\n\n"))
		if end < 0 {
			break
		}
		event := text[used : used+end]
		used += end + 2
		if err := c.event(k, event); err != nil {
			return err
		}
	}
	if k.fd >= 0 && len(text)-used > MaxSize+1024 {
		return errTooLong
	}
	c.leave(k, text[used:])
	return nil
}

// event handles one event. The payloads have no line feeds, so an event has one line of data.
func (c *Client) event(k *conn, event []byte) error {
	var data []byte
	for line := range bytes.SplitSeq(event, []byte("\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			if data != nil {
				return fmt.Errorf("an event with several lines of data: %.100q", event)
			}
			data = value
		case "": // a comment is a heartbeat
			if len(line) > 0 {
				c.pings++
			}
		case "event":
			if string(value) == "close" {
				return fmt.Errorf("closed by the server: %.100q", event)
			}
		}
	}
	if data == nil {
		return nil
	}
	if c.speaks == nil {
		c.phase.message(k, opText, data)
		return nil
	}
	next := c.speaks.next(data)
	if next.err != nil {
		return next.err
	}
	c.said(k, opText, next)
	return nil
}
