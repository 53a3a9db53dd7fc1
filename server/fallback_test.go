package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanfare/server/internal/fallback"
)

// plainRequest makes one ordinary request to the public listener.
func plainRequest(t *testing.T, srv *Server, method, target string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", method, target)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// More requests at once than may be get an answer that says so, counted, and not
// fasthttp's own.
func TestFallbackRequestsAreBounded(t *testing.T) {
	srv := start(t, Config{})
	for range fallback.MaxRequests {
		srv.fallback.Acquire()
	}
	resp, body := plainRequest(t, srv, "GET", "/")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || body != "too many requests at once\n" {
		t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
	}
	if n := srv.Stats().Limited["plain_requests"]; n != 1 {
		t.Errorf("%d were counted, want 1", n)
	}
	srv.fallback.Release()
	for range 2 { // the first gives its place back
		if resp, _ := plainRequest(t, srv, "GET", "/"); resp.StatusCode != 404 {
			t.Errorf("%d below the bound", resp.StatusCode)
		}
		await(t, "the place is free", func() bool { return srv.fallback.Open() == fallback.MaxRequests-1 })
	}
	for range fallback.MaxRequests - 1 {
		srv.fallback.Release()
	}
}

func TestFallbackRequests(t *testing.T) {
	fallback := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("in the application")
		}
		io.WriteString(w, r.Method+" "+r.URL.String())
	})
	srv := start(t, Config{Fallback: fallback, Endpoints: []Endpoint{
		PushEndpoint("/ws"), EchoEndpoint("/echo"), {Path: "/real", Identifier: func(context.Context, *Request) (Identity, error) { return Identity{}, nil }},
	}})
	for _, test := range []struct {
		method, target string
		status         int
		header         string // "Name: value"
		body           string // a part of it
	}{
		{"GET", "/?user=alice", 200, "Content-Type: text/plain; charset=utf-8", "GET /?user=alice"},
		{"POST", "/a%2Fb", 200, "", "POST /a%2Fb"},
		{"GET", "/ws", 426, "Upgrade: websocket", "ws://HOST/ws?user=NAME&topic=TOPIC"},
		{"GET", "/ws?user=alice", 426, "Sec-Websocket-Version: 13", "WebSocket endpoint"},
		{"GET", "/echo", 426, "Sec-Websocket-Version: 13", "ws://HOST/echo with"},
		{"GET", "/real", 426, "Upgrade: websocket", "ws://HOST/real?token=TOKEN"},
		{"POST", "/ws", 405, "Allow: GET", "only GET"},
		{"HEAD", "/ws", 405, "Allow: GET", ""},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			resp, body := plainRequest(t, srv, test.method, test.target)
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
			if name, value, ok := strings.Cut(test.header, ": "); ok && strings.Join(resp.Header.Values(name), ", ") != value {
				t.Errorf("%s is %q, want %q", name, resp.Header.Values(name), value)
			}
			if !strings.Contains(body, test.body) {
				t.Errorf("body is %q, want %q in it", body, test.body)
			}
			if name := "X-Content-Type-Options"; resp.StatusCode != 200 && resp.Header.Get(name) == "" {
				t.Errorf("no %s", name)
			}
		})
	}
}

// Without Config.Fallback every other path is 404, and a panic in it costs nothing but
// its connection.
func TestFallbackDefaultAndPanic(t *testing.T) {
	srv := start(t, Config{})
	if resp, body := plainRequest(t, srv, "GET", "/"); resp.StatusCode != 404 || body != "nothing is at this path\n" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	log := new(logBuffer)
	srv = start(t, Config{Logger: log.logger(), Fallback: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("in the application") })})
	c := dial(t, srv, "/ws?user=alice")
	nc := connect(t, srv)
	nc.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
		t.Errorf("read %q, %v: the connection should end", b, err)
	}
	await(t, "the panic is counted", func() bool { return srv.Stats().Panics == 1 })
	if log.count("in the application") != 1 || log.count("fallback_test.go") == 0 {
		t.Error("the log lacks the panic or its stack")
	}
	push(srv, "alice", Text, []byte("still there"))
	c.want(Text, "still there")
}
