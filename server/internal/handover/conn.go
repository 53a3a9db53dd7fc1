package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// Version of the protocol and of the encoding of sessions.
const Version = 1

// Kind of a message.
type Kind uint8

// The kinds.
const (
	Begin Kind = 1 + iota
	Ready
	Descriptors
	Sync
	Synced
	Sessions
	Prepare
	Prepared
	Commit
	Done
	Finished
	Command
	Reply
	Failed
	// Between a server and its keeper; see package keep.
	Kept
	Listeners
	Leaving
	kinds
)

var kindNames = [...]string{
	Begin: "begin", Ready: "ready", Descriptors: "descriptors", Sync: "sync", Synced: "synced", Sessions: "sessions",
	Prepare: "prepare", Prepared: "prepared", Commit: "commit", Done: "done", Finished: "finished",
	Command: "command", Reply: "reply", Failed: "failed",
	Kept: "kept", Listeners: "listeners", Leaving: "leaving",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

const (
	headerLen = 8 // length of the payload (4), kind (1), number of descriptors (2), 0
	// MaxDescriptors of one message: SCM_MAX_FD of Linux is 253.
	MaxDescriptors = 250
	// maxPayload is above what the largest outbound queue makes, base64 included.
	maxPayload = min(2<<30, math.MaxInt)
	// writeTimeout bounds a write to a process that does not read.
	writeTimeout = 10 * time.Second
)

// Conn is a connection to the other process. One goroutine may call Read; any may call Write.
type Conn struct {
	unix *net.UnixConn // immutable

	writing sync.Mutex
	scratch []byte // guarded by writing

	// Owned by the reader.
	in  []byte // received, not returned yet
	buf []byte
	oob []byte
	fds []int // received, not returned yet
}

// New returns a Conn on a Unix stream socket.
func New(c *net.UnixConn) *Conn {
	return &Conn{unix: c, buf: make([]byte, 64<<10), oob: make([]byte, rightsSpace)}
}

// Message is what Read returns.
type Message struct {
	Kind    Kind
	Payload []byte // valid until the next Read
	FDs     []int  // belong to the caller
}

// Decode decodes the payload.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Payload, v); err != nil {
		return fmt.Errorf("handover: %v: %w", m.Kind, err)
	}
	return nil
}

// CloseFDs closes the descriptors of the message.
func (m *Message) CloseFDs() {
	closeAll(m.FDs)
	m.FDs = nil
}

// Write sends a message. v is encoded as JSON; nil: the payload is empty. The descriptors
// stay the caller's.
func (c *Conn) Write(kind Kind, v any, fds ...int) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	b := append(c.scratch[:0], make([]byte, headerLen)...)
	if v != nil {
		text, err := json.Marshal(v, json.Deterministic(false))
		if err != nil {
			return fmt.Errorf("handover: %v: %w", kind, err)
		}
		b = append(b, text...)
	}
	if cap(b) <= 1<<20 {
		c.scratch = b
	}
	return c.write(kind, b, fds)
}

// WriteRaw is Write for a payload that is JSON already.
func (c *Conn) WriteRaw(kind Kind, payload []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write(kind, append(make([]byte, headerLen, headerLen+len(payload)), payload...), nil)
}

func (c *Conn) write(kind Kind, b []byte, fds []int) error {
	if len(b)-headerLen > maxPayload || len(fds) > MaxDescriptors {
		return fmt.Errorf("handover: %v of %d bytes with %d descriptors is too large", kind, len(b), len(fds))
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-headerLen))
	b[4] = byte(kind)
	binary.BigEndian.PutUint16(b[5:], uint16(len(fds)))
	b[7] = 0
	c.unix.SetWriteDeadline(time.Now().Add(writeTimeout))
	if len(fds) > 0 {
		// The descriptors go with the header, which is short enough to be sent at once.
		n, _, err := c.unix.WriteMsgUnix(b[:headerLen], rights(fds), nil)
		if err == nil && n < headerLen {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("handover: send %v: %w", kind, err)
		}
		b = b[headerLen:]
	}
	if _, err := c.unix.Write(b); err != nil {
		return fmt.Errorf("handover: send %v: %w", kind, err)
	}
	return nil
}

// ErrDescriptors means that this process could not receive descriptors, because it has as
// many as it may.
var ErrDescriptors = errors.New("handover: too many open files: the limit on open files must be as high as that of the other process")

// Read returns the next message. The error is io.EOF if the other process has ended the
// stream after a message.
func (c *Conn) Read() (m Message, err error) {
	for {
		if m, ok, err := c.next(); ok || err != nil {
			return m, err
		}
		n, oobn, flags, _, err := c.unix.ReadMsgUnix(c.buf, c.oob)
		if oobn > 0 {
			fds, e := parseRights(c.oob[:oobn])
			c.fds = append(c.fds, fds...)
			if e != nil {
				return m, e
			}
		}
		if truncated(flags) {
			return m, ErrDescriptors
		}
		switch {
		case err == nil && n == 0, errors.Is(err, io.EOF):
			if len(c.in) > 0 {
				return m, io.ErrUnexpectedEOF
			}
			return m, io.EOF
		case err != nil:
			return m, fmt.Errorf("handover: receive: %w", err)
		}
		c.in = append(c.in, c.buf[:n]...)
	}
}

// next takes a message out of what was received.
func (c *Conn) next() (m Message, ok bool, err error) {
	if len(c.in) < headerLen {
		return m, false, nil
	}
	length := binary.BigEndian.Uint32(c.in)
	n := int(min(length, math.MaxInt32)) // 32 bits
	kind, fds := Kind(c.in[4]), int(binary.BigEndian.Uint16(c.in[5:]))
	switch {
	case kind == 0 || kind >= kinds || c.in[7] != 0:
		return m, false, fmt.Errorf("handover: unknown %v: the other process has another version", kind)
	case int64(length) > maxPayload || fds > MaxDescriptors:
		return m, false, fmt.Errorf("handover: %v of %d bytes with %d descriptors is too large", kind, length, fds)
	case len(c.in) < headerLen+n:
		return m, false, nil
	case fds > len(c.fds):
		return m, false, fmt.Errorf("handover: %v announces %d descriptors, and %d have arrived", kind, fds, len(c.fds))
	}
	m = Message{Kind: kind, Payload: c.in[headerLen : headerLen+n : headerLen+n], FDs: c.fds[:fds:fds]}
	c.fds = c.fds[fds:]
	if c.in = c.in[headerLen+n:]; len(c.in) == 0 {
		c.in = nil // the payload keeps the memory
	}
	return m, true, nil
}

// SetReadDeadline bounds the Reads that follow.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.unix.SetReadDeadline(t) }

// Close ends the stream. It interrupts a Read and a Write.
func (c *Conn) Close() error { return c.unix.Close() }

// Drop closes the descriptors that were received and not returned. The reader calls it.
func (c *Conn) Drop() {
	closeAll(c.fds)
	c.fds = nil
}
