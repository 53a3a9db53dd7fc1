package publisher

import (
	"strconv"
	"sync"
)

// Message is a message to publish.
type Message struct {
	Subject string
	Header  []Field
	Payload []byte
}

// Field is a field of a header. Neither part has a line end.
type Field struct{ Name, Value string }

// group is messages that are sent together.
type group struct {
	out      []byte // what is sent
	requests []*request
	taken    bool // by its leader
}

const (
	// groupMessages and groupBytes bound a group, which its leader waits for: the server reads
	// at most 64 KiB at a time. A longer message is a group of its own.
	groupMessages = 256
	groupBytes    = 64 << 10
)

var groups = sync.Pool{New: func() any { return new(group) }}

func (g *group) closed() bool {
	return g.taken || len(g.requests) >= groupMessages || len(g.out) >= groupBytes
}

const version = "NATS/1.0\r\n"

// add appends a message, encoded: HPUB subject reply header-length length.
func (g *group) add(m *Message, r *request) {
	header := len(version) + len("\r\n")
	for _, f := range m.Header {
		header += len(f.Name) + len(": ") + len(f.Value) + len("\r\n")
	}
	b := append(g.out, "HPUB "...)
	b = append(b, m.Subject...)
	b = append(b, ' ')
	b = append(b, replyPrefix...)
	r.reply = len(b)
	b = append(b, "00000000."...) // see address
	b = strconv.AppendInt(b, int64(len(g.requests)), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(header), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(header+len(m.Payload)), 10)
	b = append(b, "\r\n"+version...)
	for _, f := range m.Header {
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	b = append(b, m.Payload...)
	g.out = append(b, "\r\n"...)
	g.requests = append(g.requests, r)
}

// address has the server send the answers to a connection.
func (g *group) address(id connID) {
	for _, r := range g.requests {
		copy(g.out[r.reply:], id[:])
	}
}

// end hands out an error to messages without an answer, and makes the group available to others.
func (g *group) end(err error) {
	for _, r := range g.requests {
		if !r.done {
			r.finish(nil, err)
		}
	}
	clear(g.requests)
	g.requests, g.taken = g.requests[:0], false
	if g.out = g.out[:0]; cap(g.out) <= 2*groupBytes {
		groups.Put(g)
	}
}
