package sse_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanfare/internal/leak"
	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/sse"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	leak.Main(m, waitFor, "testing.(*M).startAlarm", "internal/fuzz.", "testing.runFuzzing", "nats-server/v2/server/ats.", "nats-server/v2/server/pse.", "os/signal.")
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitFor); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// start starts a server with an endpoint at /sse and one for WebSocket at /ws.
func start(t testing.TB, set ...func(*server.Config)) *server.Server {
	t.Helper()
	cfg := server.Config{
		Listen:    "127.0.0.1:0",
		Endpoints: []server.Endpoint{sse.PushEndpoint("/sse"), server.PushEndpoint("/ws")},
		Logger:    slog.New(slog.DiscardHandler),
	}
	for _, f := range set {
		f(&cfg)
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	})
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return srv
}

// stored adds a store, and durable topics.
func stored(t testing.TB) func(*server.Config) {
	t.Helper()
	st, err := inbox.Open(context.Background(), inbox.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	return func(cfg *server.Config) { cfg.Store, cfg.DurableTopics = st, []string{"d.*"} }
}

// client is a connection with a response that streams.
type client struct {
	net.Conn
	*parser
	t    testing.TB
	head *http.Response
}

// request sends a request and reads the head of the answer.
func request(t testing.TB, addr net.Addr, request string) *client {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(waitFor))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	return &client{c, newParser(resp.Body), t, resp}
}

// get is request for a stream, with further header lines.
func get(t testing.TB, srv *server.Server, target string, lines ...string) *client {
	t.Helper()
	return request(t, srv.Addr(), "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n"+strings.Join(append(lines, "\r\n"), "\r\n"))
}

// open is get for a stream that is accepted.
func open(t testing.TB, srv *server.Server, target string, lines ...string) *client {
	t.Helper()
	c := get(t, srv, target, lines...)
	if c.head.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(c.head.Body)
		t.Fatalf("%s: %s %s", target, c.head.Status, body)
	}
	return c
}

// event returns the next event.
func (c *client) event() event {
	c.t.Helper()
	e, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// want checks the next events by their data.
func (c *client) want(data ...string) (last event) {
	c.t.Helper()
	for _, d := range data {
		if last = c.event(); last.name != "message" || last.data != d {
			c.t.Fatalf("got %+v, want %q", last, d)
		}
	}
	return last
}

func push(t testing.TB, srv *server.Server, user, text string) {
	t.Helper()
	if d, err := srv.Push(t.Context(), user, server.NewMessage(server.Text, []byte(text))); err != nil || d.Receivers == 0 {
		t.Fatal(d, err)
	}
}

func pushDurable(t testing.TB, srv *server.Server, user, text string) {
	t.Helper()
	if _, err := srv.PushStored(t.Context(), user, server.Entry{Op: server.Text, Payload: []byte(text)}); err != nil {
		t.Fatal(err)
	}
}

func publishDurable(t testing.TB, srv *server.Server, topic, text string) {
	t.Helper()
	if _, err := srv.PublishStored(t.Context(), topic, server.Entry{Op: server.Text, Payload: []byte(text)}); err != nil {
		t.Fatal(err)
	}
}
