package publisher

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// server is a NATS server that answers what a test says.
type server struct {
	t      *testing.T
	answer func(c net.Conn, m received)
	open   chan struct{} // must be received from before the message "0" is served
	greets string        // what it says after PING; empty: PONG

	mu    sync.Mutex
	conns []*serverConn // guarded by mu
	all   []received    // guarded by mu
}

// received is a message that the server has got.
type received struct {
	subject, reply, header, payload string
}

type serverConn struct {
	net.Conn
	mu     sync.Mutex
	writes int // of the client, after the greeting; guarded by mu
}

// Write is the client's.
func (c *serverConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if strings.HasPrefix(string(b), "HPUB ") {
		c.writes++
	}
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// echo answers with the payload.
func echo(c net.Conn, m received) { respond(c, m.reply, m.payload) }

func respond(c net.Conn, reply, answer string) {
	fmt.Fprintf(c, "MSG %s 1 %d\r\n%s\r\n", reply, len(answer), answer)
}

func (s *server) dial() (net.Conn, error) {
	ours, theirs := net.Pipe()
	c := &serverConn{Conn: ours}
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	go s.serve(theirs)
	return c, nil
}

// writer writes by a goroutine of its own, as a NATS server does: it reads on while the client does not.
type writer struct {
	net.Conn
	out chan []byte
}

func (w writer) Write(b []byte) (int, error) {
	w.out <- bytes.Clone(b)
	return len(b), nil
}

func (s *server) serve(nc net.Conn) {
	c := writer{nc, make(chan []byte, 1024)}
	defer close(c.out)
	go func() {
		for b := range c.out {
			nc.Write(b)
		}
		nc.Close()
	}()
	fmt.Fprintf(c, "INFO {\"headers\":true}\r\n")
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "CONNECT", "PONG":
		case "SUB":
			if !strings.HasPrefix(rest, replyPrefix) || !strings.HasSuffix(rest, ".* 1") {
				s.t.Errorf("SUB %s", rest)
			}
		case "PING":
			if s.greets == "" {
				s.greets = "PING\r\nPONG\r\n" // a ping of the server is answered anywhere
			}
			io.WriteString(c, s.greets)
		case "HPUB":
			var m received
			var header, length int
			if _, err := fmt.Sscan(rest, &m.subject, &m.reply, &header, &length); err != nil {
				s.t.Errorf("%q: %v", line, err)
				return
			}
			b := make([]byte, length+2)
			if _, err := io.ReadFull(in, b); err != nil {
				return
			}
			m.header, m.payload = string(b[:header]), string(b[header:length])
			s.mu.Lock()
			s.all = append(s.all, m)
			s.mu.Unlock()
			if m.payload == "0" {
				<-s.open
			}
			s.answer(c, m)
		default:
			s.t.Errorf("the client says %q", line)
			return
		}
	}
}

func (s *server) dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *server) writes() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.mu.Lock()
		n += c.writes
		c.mu.Unlock()
	}
	return n
}

// payloads returns what was received, in order.
func (s *server) payloads() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, m := range s.all {
		all = append(all, m.payload)
	}
	return strings.Join(all, " ")
}
