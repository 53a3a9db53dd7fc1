package attack

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// Attackers that begin something and do not end it.

// halfHandshakes sends requests a byte a second. Who is refused comes again.
func halfHandshakes(m *mob) {
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
			m.count(refused(resp))
		})
		for _, b := range []byte(request(fmt.Sprint("/ws?user=half", i))) {
			if _, err := c.Write([]byte{b}); err != nil || !m.pause(time.Second) {
				break
			}
		}
		if m.over() {
			c.SetReadDeadline(time.Unix(1, 0))
		}
		<-ended
	})
}

// stopped opens connections and sends the same beginning of a frame on each.
func stopped(begin []byte) func(m *mob) {
	return func(m *mob) {
		m.each(2000, func(i int) {
			c := m.open(i, fmt.Sprint("/ws?user=stopped", i))
			if c == nil {
				return
			}
			c.Write(begin)
			// A peer that stops in a frame cannot send a pong; between fragments it can, and would.
			m.count(c.drain(begin[0]&fin == 0))
		})
	}
}

var (
	midHeader  = []byte{fin | opText}
	midPayload = append(head(fin|opText, 60<<10), make([]byte, 1000)...)
	midMessage = append(frame(opText, make([]byte, 100)), frame(opContinuation, make([]byte, 100))...)
)

// deaf opens connections that never read.
func deaf(m *mob) {
	m.each(1000, func(i int) {
		c := m.open(i, fmt.Sprint("/ws?user=deaf", i))
		if c == nil {
			return
		}
		<-m.ctx.Done()
		c.Close()
		m.count("held to the end")
	})
}

// storm connects, gets to one of several stages, and resets the connection.
func storm(m *mob) {
	m.each(4000, func(i int) {
		c := m.dial(i)
		if c == nil {
			return
		}
		defer c.Close()
		r := request(fmt.Sprint("/ws?user=storm", i))
		switch i % 4 {
		case 0: // at once
		case 1:
			io.WriteString(c, r[:len(r)/2])
		case 2: // the answer comes when nobody is there
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

// silent opens connections and does nothing but answer pings.
func silent(path string) func(m *mob) {
	return func(m *mob) {
		m.each(2000, func(i int) {
			if c := m.open(i, fmt.Sprintf(path, i)); c != nil {
				m.count(c.drain(true))
			}
		})
	}
}

// hoards opens connections, so many a second, and sends so many bytes of the longest message allowed, so that the
// server has to keep them.
func hoards(rate, bytes int) func(m *mob) {
	most := head(fin|opText, 64<<10)
	most = append(most, make([]byte, bytes)...)
	return func(m *mob) {
		m.each(rate, func(i int) {
			c := m.open(i, fmt.Sprint("/ws?user=hoard", i))
			if c == nil {
				return
			}
			if _, err := c.Write(most); err != nil {
				m.count(c.end(err))
				return
			}
			m.count(c.drain(false))
		})
	}
}
