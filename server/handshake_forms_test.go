package server

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"fanfare/netpoll"
)

// permutations calls f with every order of fields, in place.
func permutations(fields []string, f func()) {
	if len(fields) < 2 {
		f()
		return
	}
	for i := range fields {
		fields[0], fields[i] = fields[i], fields[0]
		permutations(fields[1:], f)
		fields[0], fields[i] = fields[i], fields[0]
	}
}

// onceOnly are the fields that an answer has once: RFC 6455, 11.3.2 to 11.3.4 ("MUST
// NOT appear more than once in an HTTP response"), and 4.2.2, 5.
var onceOnly = []string{"Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"}

// The answer to a handshake does not depend on the order of its header fields (RFC 6455,
// 4.2.1), on the case of their names, on the space around their values, or on whether a
// list is one field or several (RFC 9110, 5.1, 5.3, 5.5 and 5.6.1). The test combines every
// order with the forms of each field. One form is not legal: RFC 6455, 4.1, 10 forbids a
// client to offer a sub-protocol twice. The server accepts it, because it does no harm.
func TestRFC6455HandshakeForms(t *testing.T) {
	names := []struct {
		name string
		form func(string) string
	}{
		{"as written", func(s string) string { return s }},
		{"lower", strings.ToLower},
		{"upper", strings.ToUpper},
		{"canonical", http.CanonicalHeaderKey},
		{"mixed", func(s string) string {
			b := []byte(strings.ToLower(s))
			for i := 1; i < len(b); i += 2 {
				b[i] = strings.ToUpper(string(b[i]))[0]
			}
			return string(b)
		}},
	}
	colons := []string{": ", ":", ":\t", ":  \t "}
	ends := []string{"", " ", "\t \t"}
	// Each form is a list of fields.
	upgrades := [][]string{{"websocket"}, {"WebSocket"}, {"h2c, websocket"}, {"websocket,h2c"}, {"h2c", "WEBSOCKET"}, {",", "websocket"}, {" , ,websocket,"}}
	connections := [][]string{{"Upgrade"}, {"upgrade"}, {"keep-alive, Upgrade"}, {"UPGRADE,keep-alive"}, {"keep-alive", "Upgrade"}, {"Upgrade", "close"}, {"", "upgrade ,"}}
	protocols := [][]string{{"chat"}, {"other, chat"}, {"other", "chat"}, {"chat,other"}, {"chat", "chat"}, {",chat,,"}, {"", "a,b", "chat"}}
	extensions := [][]string{{"permessage-deflate"}, {"x, permessage-deflate"}, {"x", "permessage-deflate"}, {"Permessage-Deflate-Not; a=b", "permessage-deflate"}, {"permessage-deflate, permessage-deflate; server_no_context_takeover"}}

	ep := EchoEndpoint("/echo")
	ep.Dialects = dialects("superchat", "chat")
	ep.Compress = true
	srv := start(t, Config{Transport: netpoll.Default, Endpoints: []Endpoint{ep}})
	c := connect(t, srv)
	c.say(request("+Sec-WebSocket-Protocol: chat", "+Sec-WebSocket-Extensions: permessage-deflate"))
	c.answer()
	want := c.head

	fields := []string{"Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "more"}
	i := 0
	permutations(fields, func() {
		i++
		var b strings.Builder
		b.WriteString("GET /echo HTTP/1.1\r\n")
		line := func(name string, values ...string) {
			for _, v := range values {
				b.WriteString(names[i%len(names)].form(name) + colons[i%len(colons)] + v + ends[i%len(ends)] + "\r\n")
			}
		}
		for _, f := range fields {
			switch f {
			case "Host":
				line(f, "Server.example.com:80")
			case "Upgrade":
				line(f, upgrades[i%len(upgrades)]...)
			case "Connection":
				line(f, connections[i/2%len(connections)]...)
			case "Sec-WebSocket-Key":
				line(f, key)
			case "Sec-WebSocket-Version":
				line(f, "13")
			default:
				line("Sec-WebSocket-Protocol", protocols[i/3%len(protocols)]...)
				line("Sec-WebSocket-Extensions", extensions[i/5%len(extensions)]...)
			}
		}
		b.WriteString("\r\n")
		c := connect(t, srv)
		defer c.Close()
		c.say(b.String())
		resp := c.answer()
		if c.head != want {
			t.Errorf("%q is answered %q, want %q", b.String(), c.head, want)
		}
		for _, name := range onceOnly {
			if n := len(resp.Header.Values(name)); n != 1 {
				t.Errorf("%d fields %s", n, name)
			}
		}
	})
	if i != 720 {
		t.Errorf("%d orders", i)
	}
}

// RFC 6455, 4.2.2, 4: the server "MUST NOT" name a protocol or an extension that the
// client did not; and it takes its choice from the client's list, whatever is spoken.
func TestRFC6455SubProtocolChoice(t *testing.T) {
	tests := []struct {
		name    string
		spoken  []string
		offered []string // fields
		want    []string
	}{
		{"one", []string{"a"}, []string{"a"}, []string{"a"}},
		{"the client's order", []string{"a", "b"}, []string{"b, a"}, []string{"b"}},
		{"the client's order over fields", []string{"a", "b"}, []string{"x", "b", "a"}, []string{"b"}},
		{"offered twice, which 4.1, 10 forbids", []string{"a"}, []string{"a, a", "a"}, []string{"a"}},
		{"none in common", []string{"a"}, []string{"b"}, nil},
		{"none spoken", nil, []string{"a"}, nil},
		{"none offered", []string{"a"}, nil, nil},
		{"beginning of one", []string{"ab"}, []string{"a"}, nil},
		{"longer than one", []string{"a"}, []string{"ab"}, nil},
		{"other casing", []string{"a"}, []string{"A"}, nil},
		{"every character of a token", []string{"!#$%&'*+-.^_`|~09azAZ"}, []string{"!#$%&'*+-.^_`|~09azAZ"}, []string{"!#$%&'*+-.^_`|~09azAZ"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ep := EchoEndpoint("/echo")
			ep.Dialects = dialects(test.spoken...)
			srv := start(t, Config{Endpoints: []Endpoint{ep}})
			var lines []string
			for _, f := range test.offered {
				lines = append(lines, "+Sec-WebSocket-Protocol: "+f)
			}
			c := connect(t, srv)
			c.say(request(lines...))
			resp := c.answer()
			if got := resp.Header.Values("Sec-WebSocket-Protocol"); resp.StatusCode != 101 || !slices.Equal(got, test.want) {
				t.Errorf("status %d, %q, want %q", resp.StatusCode, got, test.want)
			}
		})
	}
}
