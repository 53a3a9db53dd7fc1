package attack

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// Attackers that start something and do not finish it.

// halfHandshakes sends requests at a byte a second. A rejected attacker connects again.
func halfHandshakes(m *attackers) {
	m.each(2000, func(i int) {
		c := m.dial(i)
		if c == nil {
			return
		}
		ended := make(chan struct{})
		m.wait.Go(func() {
			defer close(ended)
			defer c.Close()
			resp, err := http.ReadResponse(c.in, nil)
			if err != nil {
				m.count(word(err))
				return
			}
			m.count(rejected(resp))
		})
		for _, b := range []byte(request(fmt.Sprint("/ws?user=half", i))) {
			if _, err := c.Write([]byte{b}); err != nil || !m.pause(time.Second) {
				break
			}
		}
		<-ended
	})
}

// stopped opens connections, sends the same beginning on each, and then no more.
func stopped(begin []byte) func(m *attackers) {
	return func(m *attackers) {
		m.each(2000, func(i int) {
			c := m.open(i, fmt.Sprint("/ws?user=stopped", i))
			if c == nil {
				return
			}
			c.Write(begin)
			// A client that stopped inside a frame cannot send a pong; between fragments it can.
			m.count(c.drain(begin[0]&fin == 0))
		})
	}
}

var (
	midHeader  = []byte{fin | opText}
	midPayload = append(head(fin|opText, 60<<10), make([]byte, 1000)...)
	midMessage = append(frame(opText, make([]byte, 100)), frame(opContinuation, make([]byte, 100))...)
)

// nonReaders opens connections and never reads from them.
func nonReaders(m *attackers) {
	m.each(1000, func(i int) {
		c := m.open(i, fmt.Sprint("/ws?user=nonreader", i))
		if c == nil {
			return
		}
		<-m.ctx.Done()
		c.Close()
		m.count("open at the end")
	})
}

// resets connects, proceeds to one of four stages, and resets the connection.
func resets(m *attackers) {
	m.each(4000, func(i int) {
		c := m.dial(i)
		if c == nil {
			return
		}
		defer c.Close()
		r := request(fmt.Sprint("/ws?user=reset", i))
		switch i % 4 {
		case 0: // at once
		case 1:
			io.WriteString(c, r[:len(r)/2])
		case 2: // the response comes too late
			io.WriteString(c, r)
		case 3: // in the middle of a message
			io.WriteString(c, r)
			if _, err := http.ReadResponse(c.in, nil); err == nil {
				c.Write(midPayload)
			}
		}
		m.count("reset")
	})
}

// silent opens connections and only answers pings.
func silent(path string) func(m *attackers) {
	return func(m *attackers) {
		m.each(2000, func(i int) {
			if c := m.open(i, fmt.Sprintf(path, i)); c != nil {
				m.count(c.drain(true))
			}
		})
	}
}

// unfinished opens connections, rate a second, and sends the given number of bytes of a message of 64 KiB, which the
// server has to buffer.
func unfinished(rate, bytes int) func(m *attackers) {
	begin := head(fin|opText, 64<<10)
	begin = append(begin, make([]byte, bytes)...)
	return func(m *attackers) {
		m.each(rate, func(i int) {
			c := m.open(i, fmt.Sprint("/ws?user=unfinished", i))
			if c == nil {
				return
			}
			if _, err := c.Write(begin); err != nil {
				m.count(c.end(err))
				return
			}
			m.count(c.drain(false))
		})
	}
}
