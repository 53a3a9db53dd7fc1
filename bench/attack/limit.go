package attack

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Attackers that try the limits.

// crowd comes from one address, as a trusted proxy says, and wants as many connections as it gets.
func crowd(m *mob) {
	m.each(40, func(i int) { // below the rate of handshakes
		if c := m.open(i, fmt.Sprint("/ws?user=crowd", i), "X-Forwarded-For: 203.0.113.1"); c != nil {
			m.count(c.drain(true))
		} else {
			m.pause(time.Second)
		}
	})
}

// hurry shakes hands from one address as fast as it can.
func hurry(m *mob) {
	m.each(1000, func(i int) {
		if c := m.open(i, fmt.Sprint("/ws?user=hurry", i), "X-Forwarded-For: 203.0.113.2"); c != nil {
			c.Close()
		}
	})
}

// swarm shakes hands from an address each.
func swarm(m *mob) {
	m.each(2000, func(i int) {
		if c := m.open(i, fmt.Sprint("/ws?user=swarm", i), fmt.Sprintf("X-Forwarded-For: 2001:db8:%x::1", i)); c != nil {
			c.Close()
		}
	})
}

// apiAbuse does to the API what should not be done.
func apiAbuse(m *mob) {
	m.each(1000, func(i int) {
		nc, err := net.Dial("tcp", m.API)
		if err != nil {
			m.count(word(err))
			return
		}
		c := &conn{TCPConn: nc.(*net.TCPConn)}
		c.SetLinger(0)
		defer c.Close()
		deadline, _ := m.ctx.Deadline()
		c.SetDeadline(deadline)
		a := abuses[i%len(abuses)]
		got := m.abuse(c, strings.ReplaceAll(a.request, "KEY", apiKey), a.slow)
		if !strings.HasPrefix(got, a.want) && !m.over() {
			got = fmt.Sprintf("%s: want %s: got %s", a.name, a.want, got)
			m.count("wrong answers")
		}
		m.count(got)
	})
}

const apiKey = "0123456789abcdef-the-key-of-the-healthy"

func (m *mob) abuse(c *conn, request string, slow bool) string {
	answered := make(chan string, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(c, 12))
		if err != nil || len(b) < 12 {
			answered <- "none"
			return
		}
		answered <- string(b[9:])
	}()
	if !slow {
		// In pieces as a network would bring them: Linux may let nobody else have the processor until it has
		// copied all of one.
		for rest := request; len(rest) > 0; {
			piece := rest[:min(len(rest), 64*kib)]
			if _, err := io.WriteString(c, piece); err != nil {
				break
			}
			rest = rest[len(piece):]
		}
		return <-answered
	}
	for _, b := range []byte(request) {
		if _, err := c.Write([]byte{b}); err != nil || !m.pause(time.Second) {
			break
		}
	}
	c.SetReadDeadline(time.Unix(1, 0))
	<-answered
	return "slow"
}

func post(path, body string, headers ...string) string {
	headers = append([]string{"Host: localhost", "Connection: close", "Authorization: Bearer KEY", fmt.Sprint("Content-Length: ", len(body))}, headers...)
	return http.MethodPost + " " + path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + body
}

// abuses of the API and the status that each gets.
var abuses = []struct {
	name, request, want string
	slow                bool
}{
	{"a body of a byte a second", post("/v1/users/nobody/push", strings.Repeat("x", 1000)), "slow", true},
	{"a head of a byte a second", post("/v1/users/nobody/push", "x"), "slow", true},
	{"a declared terabyte", strings.Replace(post("/v1/broadcast", "x"), "Content-Length: 1\r", "Content-Length: 1099511627776\r", 1), "413", false},
	{"too long a body", post("/v1/users/nobody/push", strings.Repeat("x", 1<<20+1)), "413", false},
	{"chunks without an end", post("/v1/users/nobody/push", strings.Repeat("10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", 20), "Transfer-Encoding: chunked"), "4", false},
	{"as long a body as may be", post("/v1/users/nobody/push", strings.Repeat("x", 1<<20)), "200", false},
	{"a line without an end", post("/v1/batch", strings.Repeat("x", 3<<20)), "200", false}, // the line itself has another
	{"as long a document as may be", post("/v1/push", `{"users":["nobody"],"data":"`+strings.Repeat("x", 1<<20-2)+`"}`), "200", false},
	{"as long a document without its end", post("/v1/push", `{"users":["nobody"],"data":"`+strings.Repeat("x", 1<<20-2)+`"`), "400", false},
	{"no JSON", post("/v1/push", `{"user": "nobody", "data": `), "400", false},
	{"deep JSON", post("/v1/push", strings.Repeat("[", 100_000)), "400", false},
	{"JSON of the wrong type", post("/v1/push", `{"user": 1, "data": []}`), "400", false},
	{"a slash in a name", post("/v1/users/a/b/push", "x"), "404", false},
	{"an encoded slash", post("/v1/users/a%2fb/push", "x"), "200", false},
	{"dots", post("/v1/users/../../debug/pprof/heap", "x"), "404", false},
	{"encoded dots", post("/v1/users/%2e%2e/push", "x"), "200", false},
	{"NUL in a name", post("/v1/users/a%00b/push", "x"), "400", false},
	{"CRLF in a name", post("/v1/users/a%0d%0aSet-Cookie:%20x/push", "x"), "400", false},
	{"10 KiB of a name", post("/v1/users/"+strings.Repeat("n", 10<<10)+"/push", "x"), "400", false},
	{"no UTF-8", post("/v1/users/%ff%fe/push", "x"), "400", false},
	{"half an escape", post("/v1/users/%2/push", "x"), "400", false},
	{"no key", strings.Replace(post("/v1/broadcast", "x"), "Authorization: Bearer KEY\r\n", "", 1), "401", false},
	{"a wrong key", strings.Replace(post("/v1/broadcast", "x"), "KEY", "KEX", 1), "401", false},
	{"a key that is longer", strings.Replace(post("/v1/broadcast", "x"), "KEY", "KEYKEY", 1), "401", false},
	{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "4", false},
	{"10 KiB of headers more than allowed", post("/v1/broadcast", "x", "X-Long: "+strings.Repeat("h", 26<<10)), "4", false},
}
