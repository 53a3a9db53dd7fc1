package sse_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/sse"
)

func TestStream(t *testing.T) {
	for _, name := range []string{"epoll", "goroutine"} {
		transport, err := server.ParseTransport(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			srv := start(t, func(cfg *server.Config) { cfg.Transport = transport })
			c := open(t, srv, "/sse?user=alice&topic=news")
			for name, want := range map[string]string{
				"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
				"Vary": "Origin", "Access-Control-Allow-Origin": "", "Transfer-Encoding": "", "Content-Length": "",
			} {
				if got := c.head.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if !c.head.Close || c.head.ContentLength != -1 || c.head.Header.Get("Date") == "" {
				t.Errorf("the response does not end with the connection: %+v", c.head)
			}
			push(t, srv, "alice", "one\ntwo")
			srv.Publish(t.Context(), "news", server.NewMessage(server.Binary, []byte{1}))
			srv.Broadcast(t.Context(), server.NewMessage(server.Text, []byte("all")))
			c.want("one\ntwo")
			if e := c.event(); e != (event{"binary", "AQ==", ""}) {
				t.Errorf("%+v", e)
			}
			c.want("all")
			if c.retry < 2000 {
				t.Errorf("retry is %d", c.retry)
			}
			if l := srv.Sessions(t.Context(), "alice").Sessions; len(l) != 1 || l[0].ContentType != "text/event-stream" || l[0].Protocol != "" {
				t.Errorf("%+v", l)
			}
			c.Close()
			await(t, "the session ends", func() bool { return srv.Count() == 0 })
		})
	}
}

func TestV1(t *testing.T) {
	srv := start(t)
	c := open(t, srv, "/sse?user=alice&protocol=fanfare.v1")
	push(t, srv, "alice", "a\rb")
	c.want(`{"type":"message","text":"a\u000db"}`)
	if l := srv.Sessions(t.Context(), "alice").Sessions; len(l) != 1 || l[0].Protocol != "fanfare.v1" {
		t.Errorf("%+v", l)
	}
}

// The answers to requests that open no session, and the rules of HTTP for those that do.
func TestRequests(t *testing.T) {
	srv := start(t, func(cfg *server.Config) {
		cfg.AllowOrigins = []string{"https://app.example"}
		cfg.SessionsPerUser = 1
	})
	open(t, srv, "/sse?user=full")
	const rest = " HTTP/1.1\r\nHost: localhost\r\n"
	for _, test := range []struct {
		name, request string
		status        int
		header        map[string]string
		body          string // a part
	}{
		{"HTTP/1.0 without a host", "GET /sse?user=a HTTP/1.0\r\n\r\n", 200, nil, ""},
		{"HTTP/1.1 without a host", "GET /sse?user=a HTTP/1.1\r\n\r\n", 400, nil, "Host"},
		{"Accept of a browser's address bar", "GET /sse?user=b" + rest + "Accept: text/html, */*;q=0.8\r\n\r\n", 200, nil, ""},
		{"Accept of EventSource", "GET /sse?user=c" + rest + "Accept: text/event-stream\r\n\r\n", 200, nil, ""},
		{"Accept of something else", "GET /sse?user=d" + rest + "Accept: application/json\r\n\r\n", 406, nil, "text/event-stream"},
		{"Accept that excludes it", "GET /sse?user=d" + rest + "Accept: text/event-stream;q=0.0\r\n\r\n", 406, nil, ""},
		{"malformed Accept", "GET /sse?user=e" + rest + "Accept: nonsense\r\n\r\n", 200, nil, ""},
		{"a body", "GET /sse?user=f" + rest + "Content-Length: 3\r\n\r\nabc", 400, nil, "body"},
		{"an empty body", "GET /sse?user=g" + rest + "Content-Length: 0\r\n\r\n", 200, nil, ""},
		{"WebSocket", "GET /sse?user=f" + rest + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 400, nil, "WebSocket"},
		{"no user", "GET /sse" + rest + "\r\n", 400, nil, "no user"},
		{"unknown parameter", "GET /sse?user=f&topik=x" + rest + "\r\n", 400, nil, "topik"},
		{"unknown protocol", "GET /sse?user=f&protocol=x" + rest + "\r\n", 400, nil, "no protocol"},
		{"malformed id", "GET /sse?user=f" + rest + "Last-Event-ID: 17\r\n\r\n", 400, nil, "Last-Event-ID"},
		{"malformed id in the query", "GET /sse?user=f&lastEventId=17" + rest + "\r\n", 400, nil, "lastEventId"},
		{"stay away", "GET /sse?user=f" + rest + "Last-Event-ID: close-1008\r\n\r\n", 204, map[string]string{"Content-Length": ""}, ""},
		{"too many sessions", "GET /sse?user=full" + rest + "\r\n", 429, map[string]string{"Retry-After": "10"}, ""},
		{"PUT", "PUT /sse?user=f" + rest + "Content-Length: 0\r\n\r\n", 405, map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"}, ""},
		{"HEAD", "HEAD /sse?user=f" + rest + "\r\n", 200, map[string]string{"Content-Type": "text/event-stream"}, ""},
		{"HEAD without a user", "HEAD /sse" + rest + "\r\n", 400, nil, ""},
		{"question", "GET /sse?user=f" + rest + "Fanfare-Check: 1\r\n\r\n", 200, map[string]string{"Content-Type": "text/plain; charset=utf-8"}, "would be accepted"},
		{"page of the same host", "GET /sse?user=h" + rest + "Origin: http://localhost\r\n\r\n", 200, map[string]string{"Access-Control-Allow-Origin": "http://localhost"}, ""},
		{"allowed page", "GET /sse?user=i" + rest + "Origin: https://app.example\r\n\r\n", 200,
			map[string]string{"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}, ""},
		{"allowed page that is rejected", "GET /sse?user=full" + rest + "Origin: https://app.example\r\n\r\n", 429,
			map[string]string{"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Expose-Headers": "Retry-After"}, ""},
		{"other page", "GET /sse?user=f" + rest + "Origin: https://evil.example\r\n\r\n", 403, map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Origin"}, "evil"},
		{"preflight", "OPTIONS /sse?user=f" + rest + "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n\r\n", 204,
			map[string]string{"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Methods": "GET, HEAD, POST",
				"Access-Control-Allow-Headers": "Authorization, Cache-Control, Last-Event-ID", "Access-Control-Allow-Credentials": "true"}, ""},
		{"preflight of another page", "OPTIONS /sse" + rest + "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n\r\n", 403,
			map[string]string{"Access-Control-Allow-Origin": ""}, ""},
		{"POST without a store", "POST /sse?user=f&lastEventId=AQEBZQAB" + rest + "Content-Length: 0\r\n\r\n", 501, nil, "stores no messages"},
		{"POST of another page", "POST /sse?user=f&lastEventId=AQEBZQAB" + rest + "Origin: https://evil.example\r\nContent-Length: 0\r\n\r\n", 403, nil, ""},
		{"POST without a position", "POST /sse?user=f" + rest + "Accept: application/json\r\nContent-Length: 0\r\n\r\n", 400, nil, "lastEventId"},
		{"POST with a body", "POST /sse?user=f&lastEventId=AQEBZQAB" + rest + "Content-Length: 1\r\n\r\nx", 400, nil, "body"},
		{"another path", "GET /sse/x?user=f" + rest + "\r\n", 404, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := srv.Count()
			c := request(t, srv.Addr(), test.request)
			if c.head.StatusCode != test.status {
				t.Errorf("status %s, want %d", c.head.Status, test.status)
			}
			for name, want := range test.header {
				if got := c.head.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			opened := test.status == 200 && c.head.Header.Get("Content-Type") == "text/event-stream" && c.head.Request.Method == "GET"
			if !opened {
				body, err := io.ReadAll(c.head.Body)
				if err != nil || !strings.Contains(string(body), test.body) {
					t.Errorf("the body is %q, %v", body, err)
				}
			}
			c.Close()
			await(t, "the session ends", func() bool { return srv.Count() == before })
		})
	}
}

// Where any page may connect, no page may use the cookies of a user.
func TestAnyOrigin(t *testing.T) {
	srv := start(t, func(cfg *server.Config) { cfg.AllowOrigins = []string{"*", "https://app.example"} })
	for origin, credentials := range map[string]string{"https://other.example": "", "https://app.example": "true"} {
		c := open(t, srv, "/sse?user=a", "Origin: "+origin)
		if got := c.head.Header.Get("Access-Control-Allow-Credentials"); got != credentials {
			t.Errorf("%s: credentials %q, want %q", origin, got, credentials)
		}
		if got := c.head.Header.Get("Access-Control-Allow-Origin"); got != map[string]string{"": "*", "true": origin}[credentials] {
			t.Errorf("%s: allowed origin %q", origin, got)
		}
	}
}

// What follows the request is discarded, and too much of it ends the connection.
func TestPipelined(t *testing.T) {
	srv := start(t)
	c := request(t, srv.Addr(), "GET /sse?user=a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /sse?user=b HTTP/1.1\r\nHost: localhost\r\n\r\n")
	push(t, srv, "a", "one")
	c.want("one")
	if n := srv.Count(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	go io.Copy(c.Conn, io.LimitReader(zeros{}, 4<<20))
	if e, err := c.next(); err == nil {
		t.Errorf("got %+v", e)
	}
	await(t, "the session ends", func() bool { return srv.Count() == 0 })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A client that ends its stream has left.
func TestHalfClose(t *testing.T) {
	srv := start(t)
	c := open(t, srv, "/sse?user=a")
	c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	if e, err := c.next(); err != io.EOF {
		t.Errorf("got %+v, %v", e, err)
	}
	await(t, "the session ends", func() bool { return srv.Count() == 0 })
}

func TestClose(t *testing.T) {
	srv := start(t)
	for _, test := range []struct {
		name string
		end  func()
		data string
		id   string
	}{
		{"by the API", func() { srv.Disconnect(context.Background(), "a", 1008, "banned") }, `{"code":1008,"reason":"banned"}`, "close-1008"},
		{"by the application", func() { srv.Disconnect(context.Background(), "a", 4001, "") }, `{"code":4001}`, ""},
		{"drain", func() { go srv.Shutdown(context.Background()) }, `{"code":1001,"reason":"server is going away; retry=5"}`, ""},
	} {
		c := open(t, srv, "/sse?user=a")
		push(t, srv, "a", "first")
		test.end()
		c.want("first")
		if e := c.event(); e != (event{"close", test.data, test.id}) {
			t.Errorf("%s: %+v", test.name, e)
		}
		if e, err := c.next(); err != io.EOF {
			t.Errorf("%s: got %+v, %v, want the end", test.name, e, err)
		}
		if test.name == "drain" && c.retry < 5000 {
			t.Errorf("retry is %d", c.retry)
		}
		c.Close()
	}
}

// An idle stream gets comments, and its client need not answer.
func TestHeartbeat(t *testing.T) {
	srv := start(t, func(cfg *server.Config) {
		cfg.PingInterval, cfg.PingTimeout = 200*time.Millisecond, 100*time.Millisecond
	})
	c := open(t, srv, "/sse?user=a")
	for n := 0; n < 4; {
		line, err := c.line()
		if err != nil {
			t.Fatalf("after %d comments: %v", n, err)
		}
		if line == ":" {
			n++
		}
	}
	if s := srv.Stats(); s.Pings < 4 || s.Dead != 0 || s.Sessions != 1 {
		t.Errorf("%d heartbeats, %d missed, %d sessions", s.Pings, s.Dead, s.Sessions)
	}
}

// A client that does not read is closed as with WebSocket.
func TestSlowConsumer(t *testing.T) {
	srv := start(t, func(cfg *server.Config) { cfg.QueueBytes = 16 << 10 })
	open(t, srv, "/sse?user=a").Conn.(interface{ SetReadBuffer(int) error }).SetReadBuffer(4 << 10)
	m := server.NewMessage(server.Text, []byte(strings.Repeat("x", 8<<10)))
	await(t, "the session is closed", func() bool {
		srv.Push(t.Context(), "a", m)
		return srv.Stats().Slow == 1
	})
}

// A Mount serves streams from net/http.
func TestMount(t *testing.T) {
	srv := start(t)
	m, err := srv.Mount(sse.PushEndpoint("/events"))
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewServer(m)
	defer app.Close()
	c := request(t, app.Listener.Addr(), "GET /events?user=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if c.head.StatusCode != http.StatusOK {
		t.Fatal(c.head.Status)
	}
	push(t, srv, "a", "hi")
	c.want("hi")
	for method, want := range map[string]int{"HEAD": 200, "OPTIONS": 204, "POST": 400, "DELETE": 405} {
		r, err := http.NewRequest(method, app.URL+"/events?user=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", method, resp.Status, want)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// Over TLS the connection keeps no more than a WebSocket does, and the end of a stream is
// authentic.
func TestTLS(t *testing.T) {
	site := httptest.NewTLSServer(nil)
	defer site.Close()
	srv := start(t, func(cfg *server.Config) { cfg.TLS = server.NewTLS(&tls.Config{Certificates: site.TLS.Certificates}) })
	tr := site.Client().Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.ServerName = "example.com"
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: waitFor}).Get("https://" + srv.Addr().String() + "/sse?user=a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	c := &client{parser: newParser(resp.Body), t: t}
	push(t, srv, "a", "hi")
	c.want("hi")
	srv.Disconnect(t.Context(), "a", 4000, "")
	if e := c.event(); e.name != "close" {
		t.Errorf("%+v", e)
	}
	if e, err := c.next(); err != io.EOF {
		t.Errorf("got %+v, %v, want the end", e, err)
	}
}

// Streams and WebSocket are served by endpoints of their own.
func TestMixedEndpoint(t *testing.T) {
	ep := sse.PushEndpoint("/x")
	ep.Dialects = append(ep.Dialects, server.Plain())
	if _, err := server.New(server.Config{Endpoints: []server.Endpoint{ep}}); err == nil || !strings.Contains(err.Error(), "Stream") {
		t.Errorf("got %v", err)
	}
}

// A client that takes nothing for PingTimeout is closed, although it has room in its queue and
// owes no answer.
func TestStalledClient(t *testing.T) {
	if segmentsReceived == nil {
		t.Skip("only Linux limits this")
	}
	srv := start(t, func(cfg *server.Config) { cfg.QueueBytes, cfg.PingTimeout = 16<<20, 100*time.Millisecond })
	open(t, srv, "/sse?user=a")
	push(t, srv, "a", strings.Repeat("x", 1<<20))
	m := server.NewMessage(server.Text, []byte(strings.Repeat("x", 1<<20)))
	for range 8 { // more than the kernel takes
		srv.Push(t.Context(), "a", m)
	}
	await(t, "the session ends", func() bool { return srv.Count() == 0 })
	if s := srv.Stats(); s.Slow != 0 || s.Closes["1006"] != 1 {
		t.Errorf("%d slow, closes %v", s.Slow, s.Closes)
	}
}
