package upgrade

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"fanfare/server/listen"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// version of the conversation.
const version = 1

// Step names a message.
type Step string

// The steps, in order.
const (
	Hello     Step = "hello"
	Ready     Step = "ready"
	Store     Step = "store"
	Assembled Step = "assembled"
	Serve     Step = "serve"
	Serving   Step = "serving"
	Failed    Step = "failed"
)

// Message is one step of the conversation.
type Message struct {
	Step      Step       `json:"step"`
	Version   int        `json:"version,omitzero"` // of hello
	Build     string     `json:"build,omitzero"`   // of hello
	Age       int64      `json:"age,omitzero"`     // of store: nanoseconds since the service was started
	Listeners []Listener `json:"listeners,omitzero"`
	Reason    string     `json:"reason,omitzero"` // of failed
}

// Listener is one that the new process may serve. Its descriptor comes with the message.
type Listener struct {
	Name      string   `json:"name"`
	Flag      string   `json:"flag"`               // the address as the flag of the old process has it
	Activated bool     `json:"activated,omitzero"` // by the service manager
	File      *os.File `json:"-"`
}

// Peer is the other process.
type Peer struct {
	conn *net.UnixConn
	buf  []byte // received, and not returned
	fds  []int
}

// maxMessage is far above what a message has.
const maxMessage = 64 << 10

// Send sends a message.
func (p *Peer) Send(m Message) error {
	atStep(m.Step, true)
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	var fds []int
	for _, l := range m.Listeners {
		fd, err := listen.Descriptor(l.File)
		if err != nil {
			return fmt.Errorf("upgrade: %s listener: %w", l.Name, err)
		}
		fds = append(fds, fd)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	p.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	n, _, err := p.conn.WriteMsgUnix(append(b, '\n'), oob, nil)
	if err == nil && n <= len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("upgrade: send %s: %w", m.Step, err)
	}
	return nil
}

const sendTimeout = 5 * time.Second

// Receive waits for a message of the other process. An answer failed is an error, and so is
// any other step than want.
func (p *Peer) Receive(want Step, within time.Duration) (m Message, err error) {
	p.conn.SetReadDeadline(time.Now().Add(within))
	line, err := p.line()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", within)
		}
		return m, fmt.Errorf("upgrade: waiting for %q: %w", want, err)
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("upgrade: waiting for %q: %w", want, err)
	}
	for i := range m.Listeners {
		if len(p.fds) == 0 {
			return m, errors.New("upgrade: a listener came without a descriptor")
		}
		m.Listeners[i].File = os.NewFile(uintptr(p.fds[0]), m.Listeners[i].Name)
		p.fds = p.fds[1:]
	}
	atStep(m.Step, false)
	switch {
	case m.Step == Failed:
		return m, fmt.Errorf("the new process reports: %s", m.Reason)
	case m.Step != want:
		return m, fmt.Errorf("upgrade: the other process says %q instead of %q", m.Step, want)
	case m.Step == Hello && m.Version != version:
		return m, fmt.Errorf("upgrade: the other process, %s, speaks version %d of the protocol, and this one %d: restart instead", m.Build, m.Version, version)
	}
	return m, nil
}

// line receives one line.
func (p *Peer) line() ([]byte, error) {
	chunk, oob := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(4*16))
	for {
		if i := bytes.IndexByte(p.buf, '\n'); i >= 0 {
			line := p.buf[:i]
			p.buf = p.buf[i+1:]
			return line, nil
		}
		if len(p.buf) > maxMessage {
			return nil, errors.New("the message is too long")
		}
		n, oobn, flags, _, err := p.conn.ReadMsgUnix(chunk, oob)
		if oobn > 0 {
			messages, e := unix.ParseSocketControlMessage(oob[:oobn])
			for i := range messages {
				fds, _ := unix.ParseUnixRights(&messages[i])
				p.fds = append(p.fds, fds...)
			}
			if e != nil {
				return nil, e
			}
		}
		switch {
		case flags&unix.MSG_CTRUNC != 0:
			return nil, errors.New("too many open files")
		case err != nil:
			return nil, err
		case n == 0:
			return nil, io.EOF
		}
		p.buf = append(p.buf, chunk[:n]...)
	}
}

// Greet sends hello.
func (p *Peer) Greet(build string, listeners []Listener) error {
	return p.Send(Message{Step: Hello, Version: version, Build: build, Listeners: listeners})
}

// Interrupt makes a Receive that is in progress fail.
func (p *Peer) Interrupt() { p.conn.SetReadDeadline(time.Unix(1, 0)) }

// Close ends the conversation.
func (p *Peer) Close() {
	p.conn.Close()
	for _, fd := range p.fds {
		unix.Close(fd)
	}
	p.fds = nil
}
