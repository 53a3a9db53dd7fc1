package upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Answer is the result of an upgrade.
type Answer struct {
	Error    string  `json:"error,omitzero"` // empty: the upgrade has succeeded
	PID      int     `json:"pid,omitzero"`   // of the new process
	Build    string  `json:"build,omitzero"` // of the new process
	Sessions int     `json:"sessions,omitzero"`
	Left     int     `json:"left,omitzero"`
	Seconds  float64 `json:"seconds,omitzero"`
	Pause    float64 `json:"pause,omitzero"` // the longest of a session, in seconds
}

// Request is an operator who waits for an answer.
type Request struct{ conn net.Conn }

// Answer answers the request.
func (r *Request) Answer(a Answer) {
	if r == nil {
		return
	}
	b, err := json.Marshal(a)
	if err == nil {
		r.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
		r.conn.Write(append(b, '\n'))
	}
	r.conn.Close()
}

// request is the line that asks for an upgrade.
const request = "upgrade"

// Socket is the control socket.
type Socket struct {
	ln       *net.UnixListener
	requests chan *Request
}

// Listen opens the control socket at path. A socket that is there is replaced: its process has
// ended, or is the predecessor of this one.
func Listen(path string) (*Socket, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
	old := umask(0o177)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	umask(old)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	ln.SetUnlinkOnClose(false) // the successor may have its socket there
	s := &Socket{ln: ln, requests: make(chan *Request)}
	go s.serve()
	return s, nil
}

func (s *Socket) serve() {
	for {
		c, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go s.receive(c.(*net.UnixConn))
	}
}

func (s *Socket) receive(c *net.UnixConn) {
	r := &Request{c}
	if uid, err := peerUID(c); err != nil || uid != os.Geteuid() && uid != 0 {
		r.Answer(Answer{Error: "only the user of the server, and root, may ask"})
		return
	}
	c.SetReadDeadline(time.Now().Add(sendTimeout))
	line, err := bufio.NewReader(io.LimitReader(c, 64)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != request {
		r.Answer(Answer{Error: fmt.Sprintf("unknown request %.40q: want %q", line, request)})
		return
	}
	select {
	case s.requests <- r:
	case <-time.After(sendTimeout):
		r.Answer(Answer{Error: "the server is busy: it is draining, or an upgrade is in progress"})
	}
}

// Wait returns the channel of requests; nil without a socket.
func (s *Socket) Wait() <-chan *Request {
	if s == nil {
		return nil
	}
	return s.requests
}

// Close closes the socket, and leaves its path to the successor.
func (s *Socket) Close() {
	if s != nil {
		s.ln.Close()
	}
}

// Remove closes the socket, and removes it from its directory.
func (s *Socket) Remove() {
	if s != nil {
		s.ln.SetUnlinkOnClose(true)
		s.ln.Close()
	}
}

// Ask asks the server whose control socket is at path for an upgrade, and waits for its end.
func Ask(path string, within time.Duration) (a Answer, err error) {
	c, err := net.DialTimeout("unix", path, sendTimeout)
	if err != nil {
		return a, fmt.Errorf("cannot reach the server: %w", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, request+"\n"); err != nil {
		return a, fmt.Errorf("cannot ask the server: %w", err)
	}
	line, err := io.ReadAll(io.LimitReader(c, maxMessage))
	if err != nil {
		return a, fmt.Errorf("no answer from the server: %w", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, errors.New("the server has ended without an answer: see its log")
	}
	return a, nil
}
