package server

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"fanfare/netpoll"
	"fanfare/server/internal/handshake"
)

// request is a good handshake with changes: "Name: value" replaces a field, "+Name:
// value" adds one, "-Name" removes it, and "METHOD target version" replaces the
// first line.
func request(changes ...string) string {
	first := "GET /echo HTTP/1.1"
	fields := []string{"Host: server.localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: " + key, "Sec-WebSocket-Version: 13"}
	for _, change := range changes {
		name, _, isField := strings.Cut(change, ":")
		switch {
		case change[0] == '+':
			fields = append(fields, change[1:])
			continue
		case change[0] == '-':
			name = change[1:]
		case strings.Contains(change, " HTTP/") || !isField:
			first = change
			continue
		}
		for i, f := range fields {
			if strings.HasPrefix(f, name+":") {
				fields[i] = change
				if change[0] == '-' {
					fields = append(fields[:i], fields[i+1:]...)
				}
				break
			}
		}
	}
	return first + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
}

// TestHandshake holds the server against RFC 6455, section 4.2, and the sections
// that it refers to.
func TestHandshake(t *testing.T) {
	tests := []struct {
		name    string
		request string
		status  int
		header  string // that the answer has to have, "Name: value", or must not have, "-Name"
	}{
		{"4.1: the least", request(), 101, "Sec-WebSocket-Accept: " + accept},
		{"4.2.1: the order of the fields is not important", "GET /echo HTTP/1.1\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key + "\r\nUpgrade: websocket\r\nHost: h\r\n\r\n", 101, ""},
		{"4.2.1: fields it does not know are ignored", request("+X-Foo: bar", "+Cookie: a=b; c=d", "+User-Agent: x (y)"), 101, ""},
		{"RFC 9110, 5.1: names have no case", strings.NewReplacer("Sec-WebSocket-", "SEC-websocket-", "Host", "hOST", "Upgrade:", "UPGRADE:").Replace(request()), 101, ""},
		{"RFC 9112, 2.2: a line may end with LF alone, and does not here", request("+X: a\nY: b", "+Z: c"), 400, ""},
		{"RFC 9110, 5.5: no space or much of it around values", strings.NewReplacer("Upgrade: websocket", "Upgrade:websocket", "13", "  \t13 \t").Replace(request()), 101, ""},

		// Item 1: a GET of HTTP/1.1 or higher.
		{"4.2.1, 1: HTTP/1.0", request("GET /echo HTTP/1.0"), 505, ""},
		{"4.2.1, 1: HTTP/1.2", request("GET /echo HTTP/1.2"), 101, ""},
		{"4.2.1, 1: HTTP/2.0", request("GET /echo HTTP/2.0"), 505, ""},
		{"4.2.1, 1: HTTP/9.9", request("GET /echo HTTP/9.9"), 505, ""},
		{"4.2.1, 1: POST", request("POST /echo HTTP/1.1"), 405, "Allow: GET"},
		{"4.2.1, 1: HEAD", request("HEAD /echo HTTP/1.1"), 405, "Allow: GET"},
		{"4.2.1, 1: methods have a case", request("get /echo HTTP/1.1"), 405, ""},
		{"4.2.1, 1: absolute http URI", request("GET http://server.localhost/echo HTTP/1.1"), 101, ""},
		{"4.2.1, 1: absolute https URI with port and query", request("GET https://server.localhost:443/echo?a=b HTTP/1.1"), 101, ""},
		{"4.1: absolute ws URI", request("GET ws://server.localhost/echo HTTP/1.1"), 400, ""},
		{"3: fragment", request("GET /echo#a HTTP/1.1"), 400, ""},
		{"4.2.2, 4: resource that is not there", request("GET /other HTTP/1.1"), 404, ""},
		{"4.2.2, 4: paths have a case", request("GET /Echo HTTP/1.1"), 404, ""},
		{"4.2.2, 4: longer path", request("GET /echo/ HTTP/1.1"), 404, ""},
		{"4.2.2, 4: hostile path is not sent back", request("GET /<script>\xff HTTP/1.1"), 404, "X-Content-Type-Options: nosniff"},

		// Item 2.
		{"4.2.1, 2: no Host", request("-Host"), 400, ""},
		{"4.2.1, 2: empty Host", request("Host:"), 400, ""},
		{"RFC 9112, 3.2: two Hosts", request("+Host: server.localhost"), 400, ""},
		{"RFC 9112, 3.2: no host", request("Host: a b"), 400, ""},
		{"RFC 9112, 3.2: user in the host", request("Host: u@h"), 400, ""},
		{"RFC 9112, 3.2: path in the host", request("Host: h/p"), 400, ""},
		{"4.2.1, 2: Host with port", request("Host: server.localhost:8080"), 101, ""},
		{"4.2.1, 2: Host that is an IPv6 address", request("Host: [2001:db8::1]:8080"), 101, ""},
		{"RFC 9112, 3.2.2: no Host beside an absolute URI", request("GET http://h/echo HTTP/1.1", "-Host"), 400, ""},

		// Item 3.
		{"4.2.1, 3: websocket in any casing", request("Upgrade: WebSOCKET"), 101, ""},
		{"4.2.1, 3: ASCII casing only", request("Upgrade: web\u017focket"), 426, ""},
		{"RFC 9110, 7.8: Upgrade is a list", request("Upgrade: h2c, websocket"), 101, ""},
		{"RFC 9110, 5.3: and may be repeated", request("Upgrade: h2c", "+Upgrade: websocket"), 101, ""},
		{"RFC 9110, 5.6.1: lists may have empty members", request("Upgrade: ,, websocket ,"), 101, ""},
		{"4.2.1, 3: other protocol", request("Upgrade: h2c"), 426, ""},
		{"4.2.1, 3: version of the protocol", request("Upgrade: websocket/13"), 426, ""},
		{"4.2.1, 3: no Upgrade", request("-Upgrade"), 426, ""},
		{"RFC 9110, 7.8: protocols may have versions", request("Upgrade: h2c/1.0, websocket"), 101, ""},
		{"4.2.1: member that is not a protocol", request("Upgrade: websocket, @"), 400, ""},
		{"4.2.1: in another field", request("+Upgrade: a b"), 400, ""},
		{"4.2.1: protocol without a name", request("Upgrade: /1, websocket"), 400, ""},
		{"4.2.1: protocol with an empty version", request("Upgrade: h2c/, websocket"), 400, ""},
		{"4.2.1: protocol with two versions", request("Upgrade: a/b/c, websocket"), 400, ""},

		// Item 4.
		{"4.2.1, 4: Upgrade in any casing", request("Connection: uPGRADE"), 101, ""},
		{"4.2.1, 4: Connection is a list", request("Connection: keep-alive, Upgrade"), 101, ""},
		{"4.2.1, 4: and may be repeated", request("Connection: keep-alive", "+Connection: Upgrade"), 101, ""},
		{"4.2.1, 4: no Upgrade in it", request("Connection: keep-alive"), 400, ""},
		{"4.2.1, 4: Upgrade as a part of a word", request("Connection: Upgrades"), 400, ""},
		{"4.2.1, 4: no Connection", request("-Connection"), 400, ""},
		{"4.2.1: member that is not a token", request("Connection: Upgrade, @ @"), 400, ""},
		{"4.2.1: in another field that is none", request("+Connection: \"close\""), 400, ""},

		// Item 5.
		{"4.2.1, 5: no key", request("-Sec-WebSocket-Key"), 400, ""},
		{"11.3.1: key twice", request("+Sec-WebSocket-Key: " + key), 400, ""},
		{"4.2.1, 5: empty key", request("Sec-WebSocket-Key:"), 400, ""},
		{"4.2.1, 5: key of 15 bytes", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400, ""},
		{"4.2.1, 5: key of 17 bytes", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE="), 400, ""},
		{"4.2.1, 5: key without padding", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400, ""},
		{"4.2.1, 5: key that is not a base64", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q=="), 400, ""},
		{"4.2.1, 5: key in the URL alphabet", request("Sec-WebSocket-Key: dGhlIHNhbXBs_SBub25jZQ=="), 400, ""},
		{"4.1, 7: its example, with bits after the end", request("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="), 101, "Sec-WebSocket-Accept: OfS0wDaT5NoxF2gqm7Zj2YtetzM="},
		{"RFC 9112, 2.2: an empty line before the request", "\r\n" + request(), 101, ""},
		{"4.2.1, 5: any other key", request("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 101, "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI="},

		// Item 6, and 4.4.
		{"4.4: version 8", request("Sec-WebSocket-Version: 8"), 426, "Sec-WebSocket-Version: 13"},
		{"4.4: version 130", request("Sec-WebSocket-Version: 130"), 426, "Sec-WebSocket-Version: 13"},
		{"4.3: version with a zero in front", request("Sec-WebSocket-Version: 013"), 426, "Sec-WebSocket-Version: 13"},
		{"4.4: no version", request("-Sec-WebSocket-Version"), 426, "Sec-WebSocket-Version: 13"},
		{"11.3.5: version twice", request("+Sec-WebSocket-Version: 13"), 426, "Sec-WebSocket-Version: 13"},
		{"4.1: version is not a list", request("Sec-WebSocket-Version: 13, 8"), 426, "Sec-WebSocket-Version: 13"},
		{"RFC 9110, 15.5.22: 426 names the protocol", request("Sec-WebSocket-Version: 8"), 426, "Upgrade: websocket"},

		// Item 7, 4.2.2, 4, /origin/, and 10.2.
		{"10.2: without an Origin it is not a browser", request(), 101, ""},
		{"10.2: same origin", request("+Origin: http://server.localhost"), 101, ""},
		{"10.2: same origin, port of the scheme", request("+Origin: http://server.localhost:80"), 101, ""},
		{"10.2: same origin in front of TLS", request("+Origin: https://server.localhost"), 101, ""},
		{"10.2: same origin, port", request("+Origin: http://server.localhost:8080", "Host: server.localhost:8080"), 101, ""},
		{"10.2: origin of an absolute URI's host", request("GET http://a.example/echo HTTP/1.1", "+Origin: http://a.example"), 101, ""},
		{"10.2: the Host field does not count then", request("GET http://a.example/echo HTTP/1.1", "+Origin: http://server.localhost"), 403, ""},
		{"10.2: other host", request("+Origin: http://evil.example.com"), 403, ""},
		{"10.2: other port", request("+Origin: http://server.localhost:81"), 403, ""},
		{"10.2: null", request("+Origin: null"), 403, ""},
		{"10.2: empty", request("+Origin:"), 403, ""},
		{"10.2: application that is allowed", request("+Origin: capacitor://localhost"), 101, ""},
		{"10.2: allowed", request("+Origin: https://app.example.org"), 101, ""},
		{"10.2: allowed with others", request("+Origin: https://a.b.wild.example"), 101, ""},
		{"10.2: longer than allowed", request("+Origin: https://app.example.org.evil.example"), 403, ""},
		{"RFC 6454, 7.3: two origins", request("+Origin: https://app.example.org", "+Origin: https://evil.example"), 403, ""},

		// Item 8, and 4.2.2, 4, /subprotocol/.
		{"4.2.2, 4: protocol the server speaks", request("+Sec-WebSocket-Protocol: chat"), 101, "Sec-WebSocket-Protocol: chat"},
		{"4.2.2, 4: the first of the client's order", request("+Sec-WebSocket-Protocol: other, superchat,chat"), 101, "Sec-WebSocket-Protocol: superchat"},
		{"11.3.4: the field may be repeated", request("+Sec-WebSocket-Protocol: other", "+Sec-WebSocket-Protocol: chat"), 101, "Sec-WebSocket-Protocol: chat"},
		{"4.2.2, 4: none that is spoken", request("+Sec-WebSocket-Protocol: other"), 101, "-Sec-WebSocket-Protocol"},
		{"4.2.2, 4: no case is ignored", request("+Sec-WebSocket-Protocol: CHAT"), 101, "-Sec-WebSocket-Protocol"},
		{"4.2.2, 4: none offered", request(), 101, "-Sec-WebSocket-Protocol"},
		{"4.3: empty", request("+Sec-WebSocket-Protocol:"), 101, "-Sec-WebSocket-Protocol"},
		{"4.3: nothing but commas", request("+Sec-WebSocket-Protocol: , ,"), 101, "-Sec-WebSocket-Protocol"},
		{"4.3: no token", request("+Sec-WebSocket-Protocol: a b"), 400, ""},
		{"4.3: no token either", request("+Sec-WebSocket-Protocol: chat, \"x\""), 400, ""},

		// Item 9, and 9.1.
		{"9.1: unknown extension is not answered", request("+Sec-WebSocket-Extensions: foo; bar=\"baz\", x"), 101, "-Sec-WebSocket-Extensions"},
		{"9.1: malformed", request("+Sec-WebSocket-Extensions: foo bar"), 400, ""},
		{"9.1: parameter without a name", request("+Sec-WebSocket-Extensions: foo; =bar"), 400, ""},
		{"9.1: empty", request("+Sec-WebSocket-Extensions:"), 400, ""},

		// Only frames may follow.
		{"RFC 9112, 6.3: body", request("+Content-Length: 5"), 400, ""},
		{"RFC 9112, 6.3: empty body", request("+Content-Length: 0"), 101, ""},
		{"RFC 9112, 6.3: two lengths", request("+Content-Length: 0", "+Content-Length: 5"), 400, ""},
		{"RFC 9112, 6.3: chunks", request("+Transfer-Encoding: chunked"), 400, ""},

		// Bounds.
		{"431: of the length that is allowed", request("+X: " + strings.Repeat("x", 1024-len(request("+X: ")))), 101, ""},
		{"431: a byte longer", request("+X: " + strings.Repeat("x", 1025-len(request("+X: ")))), 431, ""},
		{"431: without an end", "GET /" + strings.Repeat("x", 64<<10), 431, ""},
		{"431: too many fields", request(strings.Split(strings.Repeat("+a:\n", handshake.MaxFields-4), "\n")[:handshake.MaxFields-4]...), 431, ""},
		{"431: as many as allowed", request(strings.Split(strings.Repeat("+a:\n", handshake.MaxFields-5), "\n")[:handshake.MaxFields-5]...), 101, ""},

		// Bytes that are not HTTP must not wait for the timeout.
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, ""},
		{"frames", "\x81\x85abcdefghi", 400, ""},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""},
		{"garbage", "Hello, world!\r\n\r\n", 400, ""},
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		ep := EchoEndpoint("/echo")
		ep.Dialects, ep.AllowQuery = dialects("chat", "superchat"), []string{"a"}
		srv := start(t, Config{
			Transport: transport, MaxHeader: 1024, Endpoints: []Endpoint{ep},
			AllowOrigins: []string{"https://app.example.org", "https://*.wild.example", "capacitor://localhost"},
		})
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				before := srv.stats.Rejected[test.status].Load()
				c := connect(t, srv)
				c.say(test.request)
				resp := c.answer()
				if resp.StatusCode != test.status {
					t.Fatalf("status %d, want %d", resp.StatusCode, test.status)
				}
				name, value, _ := strings.Cut(test.header, ": ")
				if absent, not := strings.CutPrefix(name, "-"); not && resp.Header.Values(absent) != nil {
					t.Errorf("%s is %q", absent, resp.Header.Values(absent))
				} else if !not && name != "" && resp.Header.Get(name) != value {
					t.Errorf("%s is %q, want %q", name, resp.Header.Get(name), value)
				}
				if test.status == 101 {
					c.send(Text, "hello")
					c.want(Text, "hello")
					return
				}
				explains(t, resp, c.head)
				c.wantEnd() // 7.2.2: the server "MUST simply" close the connection
				if n := srv.stats.Rejected[test.status].Load() - before; n != 1 {
					t.Errorf("%d were counted", n)
				}
			})
		}
		await(t, "no session is left", func() bool { return srv.sessions.Load() == 0 })
	})
}

var upgradeOption = regexp.MustCompile(`\r\nConnection: ([^\r]*, )?Upgrade[,\r]`)

// explains: it says why, and when, and that the connection ends.
func explains(t *testing.T, resp *http.Response, head string) {
	t.Helper()
	body, _ := io.ReadAll(resp.Body)
	if len(body) < 10 || int64(len(body)) != resp.ContentLength || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d bytes of %s say why: %q", len(body), resp.Header.Get("Content-Type"), body)
	}
	if !resp.Close {
		t.Error("the answer does not say that the connection ends")
	}
	if resp.StatusCode == 426 && !upgradeOption.MatchString(head) {
		t.Errorf("RFC 9110, 7.8: Upgrade without the connection option: %q", head)
	}
	if resp.StatusCode < 500 && resp.Header.Get("Date") == "" {
		t.Error("RFC 9110, 6.6.1: no Date")
	}
}

// The answer of RFC 6455, section 1.3, byte for byte: 4.2.2, 5.1 to 5.4.
func TestHandshakeAnswer(t *testing.T) {
	srv := start(t, Config{})
	c := connect(t, srv)
	c.say(request())
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.br, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

// RFC 6455 demands of a client that it waits for the answer, but not of a server
// that it drops what a hasty one has sent: it goes to the decoder.
func TestHandshakeTogetherWithFrames(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		c := connect(t, srv)
		var frames strings.Builder
		for i := range 100 {
			frames.Write(masked(Text, true, fmt.Appendf(nil, "message %d", i)))
		}
		c.say(request() + frames.String())
		if resp := c.answer(); resp.StatusCode != 101 {
			t.Fatal(resp.StatusCode)
		}
		for i := range 100 {
			c.want(Text, fmt.Sprintf("message %d", i))
		}
	})
}

func TestHandshakeTogetherWithGarbage(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		c := connect(t, srv)
		c.say(request() + "GET / HTTP/1.1\r\n\r\n")
		if resp := c.answer(); resp.StatusCode != 101 {
			t.Fatal(resp.StatusCode)
		}
		c.wantClose(1002)
		c.wantEnd()
	})
}
