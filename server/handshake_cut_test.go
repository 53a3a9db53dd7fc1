package server

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
	"fanfare/server/internal/handshake"
)

// talk feeds a new session with pieces, each as one read, and returns all that
// the client gets. The server has to be the one that ends the connection.
func talk(t *testing.T, srv *Server, pieces ...string) string {
	t.Helper()
	return talkAs(t, srv, readingRequest, pieces...)
}

// talkAs is talk for a session that begins in a phase.
func talkAs(t *testing.T, srv *Server, begins phase, pieces ...string) string {
	t.Helper()
	here, there, err := socketPair(t)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	s := srv.newSession(srv.unrouted)
	s.state.Store(uint32(begins) << phaseShift)
	if err := srv.engine.Adopt(there, &s.conn, reads{handler{s}, pieces}, nil); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(here)
	if err != nil {
		t.Fatalf("the server does not end it: %v, got %q", err, got)
	}
	return date.ReplaceAllString(string(got), "")
}

// reads is a session for which pieces have arrived when it is adopted.
type reads struct {
	handler
	pieces []string
}

func (r reads) Open(c *netpoll.Conn) {
	for _, p := range r.pieces {
		for b := []byte(p); len(b) > 0; c.Uncork() {
			b = b[r.s.received(b):]
		}
	}
}

var date = regexp.MustCompile("Date: [^\r]*\r\n")

// The answer does not depend on how the request is cut into reads.
func TestHandshakeCutAnywhere(t *testing.T) {
	frames := string(masked(Text, true, []byte("hello"))) + string(masked(ws.OpClose, true, []byte(closePayload(1000, ""))))
	inputs := []struct{ name, input, want string }{
		{"good", request() + frames, "HTTP/1.1 101 "},
		{"with sub-protocol", request("+Sec-WebSocket-Protocol: a, chat") + frames, "HTTP/1.1 101 "},
		{"malformed first line", "GET  HTTP/1.1\r\n\r\n" + frames, "HTTP/1.1 400 "},
		{"line ends without CR", strings.ReplaceAll(request(), "\r\n", "\n") + "\r\n\r\n", "HTTP/1.1 400 "},
		{"CR CR LF", "GET / HTTP/1.1\r\r\n\r\r\n\r\n\r\n", "HTTP/1.1 400 "},
		{"wrong version", request("Sec-WebSocket-Version: 12") + frames, "HTTP/1.1 426 "},
		{"longest", request("+X: "+strings.Repeat("x", 512-len(request("+X: ")))) + frames, "HTTP/1.1 101 "},
		{"too long by one", request("+X: "+strings.Repeat("x", 513-len(request("+X: ")))) + frames, "HTTP/1.1 431 "},
		{"endless", strings.Repeat("x", 600), "HTTP/1.1 431 "},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HTTP/1.1 400 "},
		{"ends at once", "\r\n\r\n", "HTTP/1.1 400 "},
	}
	ep := EchoEndpoint("/echo")
	ep.Dialects = dialects("chat")
	// Every cut on one transport, some on the other: the law is above them.
	for kind, step := range map[netpoll.Transport]int{netpoll.Epoll: 1, netpoll.Goroutine: 7} {
		if testing.Short() {
			step *= 5
		}
		t.Run(kind.String(), func(t *testing.T) {
			srv := start(t, Config{Transport: kind, MaxHeader: 512, Endpoints: []Endpoint{ep}})
			for _, in := range inputs {
				t.Run(in.name, func(t *testing.T) {
					whole := talk(t, srv, in.input)
					if !strings.HasPrefix(whole, in.want) {
						t.Fatalf("answer %q, want %s", whole, in.want)
					}
					for i := 1; i < len(in.input); i += step {
						if got := talk(t, srv, in.input[:i], in.input[i:]); got != whole {
							t.Fatalf("cut at %d: %q, uncut: %q", i, got, whole)
						}
					}
					if got := talk(t, srv, strings.Split(in.input, "")...); got != whole {
						t.Fatalf("byte by byte: %q, uncut: %q", got, whole)
					}
				})
			}
		})
	}
}

// The memory of an incomplete request is released when the session opens.
func TestHandshakeInPiecesLeavesNothing(t *testing.T) {
	srv := start(t, Config{})
	c := connect(t, srv)
	c.say(request("GET /ws?user=a HTTP/1.1")[:10])
	await(t, "the first piece", func() bool { return halfRequests(srv) == 1 })
	c.say(request("GET /ws?user=a HTTP/1.1")[10:])
	if resp := c.answer(); resp.StatusCode != 101 {
		t.Fatal(resp.StatusCode)
	}
	if only(t, srv, "a").ext.Load() != nil {
		t.Error("the session keeps an extension")
	}
}

// fuzzServer has no listener; its sessions never have a connection.
func fuzzServer(f *testing.F) *Server {
	ep := PushEndpoint("/ws")
	ep.Dialects = dialects("chat")
	// Its clock stands still, so no handshake comes back to the rate.
	srv, err := newServer(Config{MaxHeader: 1024, HandshakeRate: 1 << 30, Endpoints: []Endpoint{ep}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { srv.end() })
	return srv
}

func addRequests(f *testing.F) {
	for _, s := range []string{
		request("GET /ws?user=a&topic=b HTTP/1.1"), request("GET http://h/ws?user=a HTTP/1.1"), request("POST /ws HTTP/1.1"),
		request("GET /ws?user=a HTTP/1.1", "+Sec-WebSocket-Protocol: x, chat", "+Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10"),
		request("GET /ws?user=a HTTP/1.1", "+Content-Length: 0"), request("GET /ws?user=a HTTP/1.1", "+Origin: http://server.localhost"),
		request("GET /ws?user=a HTTP/1.1", "Connection: keep-alive,, Upgrade", "Upgrade: h2c/1, websocket"),
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01", "\r\n\r\n",
	} {
		f.Add([]byte(s), uint16(10))
	}
}

// FuzzHandshake: whatever is accepted is a handshake to net/http as well.
func FuzzHandshake(f *testing.F) {
	srv := fuzzServer(f)
	addRequests(f)
	f.Fuzz(func(t *testing.T, b []byte, _ uint16) {
		var gathered handshake.Head
		head, rest, err := gathered.Take(b, len(b))
		if head == nil || err != nil {
			return
		}
		s := &Session{}
		s.ep.Store(srv.unrouted)
		h := handshakeBuffers.Get().(*handshakeBuffer)
		defer h.free()
		err = s.begin(h, head, rest, 1)
		var rejection *Rejection
		switch {
		case errors.As(err, &rejection):
			if rejection.Status < 400 || rejection.Status > 599 || rejection.Status == 500 || rejection.Status == 503 || rejection.Text == "" {
				t.Fatalf("rejected with %d %q", rejection.Status, rejection.Text)
			}
			return
		case errors.Is(err, errPlain):
			return
		case !errors.Is(err, ErrClosed): // there is no connection to write the answer to
			t.Fatal(err)
		}
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			t.Fatalf("%q is accepted, net/http says: %v", head, err)
		}
		nonce, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
		has := func(name, token string) bool {
			return strings.Contains(strings.ToLower(strings.Join(r.Header.Values(name), ",")), token)
		}
		if r.Method != "GET" || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.URL.Path != "/ws" || r.Host == "" ||
			!has("Upgrade", "websocket") || !has("Connection", "upgrade") || r.Header.Get("Sec-WebSocket-Version") != "13" ||
			err != nil || len(nonce) != 16 || r.ContentLength != 0 || len(r.TransferEncoding) != 0 || r.URL.Query().Get("user")+r.URL.Query().Get("userId") == "" {
			t.Fatalf("%q is accepted", head)
		}
	})
}
