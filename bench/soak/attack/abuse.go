package attack

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// abuseAPI sends the API requests that it has to reject, or to accept at its limits.
func abuseAPI(m *attackers) {
	m.each(1000, func(i int) {
		nc, err := net.Dial("tcp", m.API)
		if err != nil {
			m.count(word(err))
			return
		}
		c := m.adopt(nc)
		defer c.Close()
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

// abuse sends a request and returns the status of the response. A slow one is sent at a byte a second, and ends with
// the attack.
func (m *attackers) abuse(c *conn, request string, slow bool) string {
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
		// In pieces, as a network delivers them: Linux may keep the processor until it has copied a whole one.
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
	c.SetReadDeadline(time.Unix(1, 0)) // the attack is over, or the server closed the connection
	<-answered
	return "slow"
}

func post(path, body string, headers ...string) string {
	headers = append([]string{"Host: localhost", "Connection: close", "Authorization: Bearer KEY", fmt.Sprint("Content-Length: ", len(body))}, headers...)
	return http.MethodPost + " " + path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + body
}

// abuses of the API and the status that each must get.
var abuses = []struct {
	name, request, want string
	slow                bool
}{
	{"a body of a byte a second", post("/v1/users/absent/push", strings.Repeat("x", 1000)), "slow", true},
	{"a head of a byte a second", post("/v1/users/absent/push", "x"), "slow", true},
	{"a declared length of a terabyte", strings.Replace(post("/v1/broadcast", "x"), "Content-Length: 1\r", "Content-Length: 1099511627776\r", 1), "413", false},
	{"a body over the limit", post("/v1/users/absent/push", strings.Repeat("x", 1<<20+1)), "413", false},
	{"chunks without an end", post("/v1/users/absent/push", strings.Repeat("10000\r\n"+strings.Repeat("x", 1<<16)+"\r\n", 20), "Transfer-Encoding: chunked"), "4", false},
	{"a body at the limit", post("/v1/users/absent/push", strings.Repeat("x", 1<<20)), "200", false},
	{"a line without an end", post("/v1/batch", strings.Repeat("x", 3<<20)), "200", false}, // the error is in the answer to the line
	{"a document at the limit", post("/v1/push", `{"users":["absent"],"data":"`+strings.Repeat("x", 1<<20-2)+`"}`), "200", false},
	{"a document at the limit without its end", post("/v1/push", `{"users":["absent"],"data":"`+strings.Repeat("x", 1<<20-2)+`"`), "400", false},
	{"invalid JSON", post("/v1/push", `{"user": "absent", "data": `), "400", false},
	{"deep JSON", post("/v1/push", strings.Repeat("[", 100_000)), "400", false},
	{"JSON of the wrong type", post("/v1/push", `{"user": 1, "data": []}`), "400", false},
	{"a slash in a name", post("/v1/users/a/b/push", "x"), "404", false},
	{"an encoded slash", post("/v1/users/a%2fb/push", "x"), "200", false},
	{"dots", post("/v1/users/../../debug/pprof/heap", "x"), "404", false},
	{"encoded dots", post("/v1/users/%2e%2e/push", "x"), "200", false},
	{"NUL in a name", post("/v1/users/a%00b/push", "x"), "400", false},
	{"CRLF in a name", post("/v1/users/a%0d%0aSet-Cookie:%20x/push", "x"), "400", false},
	{"10 KiB of a name", post("/v1/users/"+strings.Repeat("n", 10<<10)+"/push", "x"), "400", false},
	{"invalid UTF-8", post("/v1/users/%ff%fe/push", "x"), "400", false},
	{"half an escape", post("/v1/users/%2/push", "x"), "400", false},
	{"without a key", strings.Replace(post("/v1/broadcast", "x"), "Authorization: Bearer KEY\r\n", "", 1), "401", false},
	{"a wrong key", strings.Replace(post("/v1/broadcast", "x"), "KEY", "KEX", 1), "401", false},
	{"a key that is longer", strings.Replace(post("/v1/broadcast", "x"), "KEY", "KEYKEY", 1), "401", false},
	{"TLS instead of HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "4", false},
	{"10 KiB of headers more than allowed", post("/v1/broadcast", "x", "X-Long: "+strings.Repeat("h", 26<<10)), "4", false},
}
