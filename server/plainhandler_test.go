package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
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
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: example\r\nContent-Length: 0\r\n\r\n", method, target)
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
func TestPlainRequestsAreBounded(t *testing.T) {
	srv := start(t, Config{})
	srv.plainOpen.Store(plainMost)
	resp, body := plainRequest(t, srv, "GET", "/")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || body != "too many requests at once\n" {
		t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
	}
	if n := srv.limited()["plain_requests"]; n != 1 {
		t.Errorf("%d were counted, want 1", n)
	}
	srv.plainOpen.Store(plainMost - 1)
	for range 2 { // the first gives its place back
		if resp, _ := plainRequest(t, srv, "GET", "/"); resp.StatusCode != 200 {
			t.Errorf("%d below the bound", resp.StatusCode)
		}
		await(t, "the place is free", func() bool { return srv.plainOpen.Load() == plainMost-1 })
	}
	srv.plainOpen.Store(0)
}

func TestPlainRequests(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{
		Push("/ws"), Echo("/echo"), {Path: "/real", Identify: func(*Request) (Identity, error) { return Identity{}, nil }},
	}})
	for _, test := range []struct {
		method, target string
		status         int
		header         string // "Name: value"
		body           string // a part of it
	}{
		{"GET", "/", 200, "Content-Type: text/html; charset=utf-8", "<title>fanfare console</title>"},
		{"GET", "/?user=alice", 200, "Cache-Control: no-cache", "fanfare"},
		{"HEAD", "/", 200, "Content-Type: text/html; charset=utf-8", ""},
		{"POST", "/", 405, "Allow: GET, HEAD", "only GET, HEAD"},
		{"GET", "/favicon.ico", 204, "", ""},
		{"DELETE", "/favicon.ico", 405, "Allow: GET, HEAD", "only GET, HEAD"},
		{"GET", "/ws", 426, "Upgrade: websocket", "ws://HOST/ws?user=NAME&topic=TOPIC"},
		{"GET", "/ws?user=alice", 426, "Sec-Websocket-Version: 13", "WebSocket endpoint"},
		{"GET", "/echo", 426, "Sec-Websocket-Version: 13", "ws://HOST/echo with"},
		{"GET", "/real", 426, "Upgrade: websocket", "ws://HOST/real?token=TOKEN"},
		{"POST", "/ws", 405, "Allow: GET", "only GET"},
		{"HEAD", "/ws", 405, "Allow: GET", ""},
		{"GET", "/metrics", 404, "Content-Type: text/plain; charset=utf-8", "the test console"},
		{"GET", "/index.html", 404, "", "nothing"},
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
			for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy"} {
				if resp.Header.Get(name) == "" {
					t.Errorf("no %s", name)
				}
			}
		})
	}
}

func TestConsolePolicy(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{Push(`/a"><b>&`), Echo("/echo")}})
	resp, body := plainRequest(t, srv, "GET", "/")
	policy := resp.Header.Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
		"script-src " + sourceHash([]byte(body), "script"), "style-src " + sourceHash([]byte(body), "style"),
	} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy lacks %s:\n%s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("unsafe policy: %s", policy)
	}
	for _, part := range []string{
		`<option data-identity="query">/a&#34;&gt;&lt;b&gt;&amp;</option>`, `<option data-identity="none">/echo</option>`, `data-api="http://API"`,
	} {
		if !strings.Contains(body, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	for _, outside := range []string{"src=\"", "href=\"http", "@import", "url("} {
		if strings.Contains(body, outside) {
			t.Errorf("the page refers to something outside: %s", outside)
		}
	}
}

func TestConsoleAPIAddress(t *testing.T) {
	srv := start(t, Config{API: "127.0.0.1:0"})
	if _, body := plainRequest(t, srv, "GET", "/"); !strings.Contains(body, `data-api="http://`+srv.APIAddr().String()+`"`) {
		t.Error("the page does not say where the API is")
	}
	srv = start(t, Config{API: "unix:" + t.TempDir() + "/api"})
	if _, body := plainRequest(t, srv, "GET", "/"); !strings.Contains(body, `data-api="http://API"`) {
		t.Error("the page says where the API is, to whom it is no use")
	}
}
