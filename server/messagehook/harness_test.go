package messagehook

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
	"fanfare/server/internal/hooktest"
)

// fixture is a server whose clients are answered by a backend.
type fixture struct {
	*hooktest.Fixture
	hook *Hook
	cfg  Config // of hook
}

// start starts a backend and a server that asks it.
func start(t *testing.T, backend http.HandlerFunc, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{Fixture: hooktest.New(t, backend)}
	f.cfg = Config{URL: f.URL + "/message", Secrets: hooktest.Secrets, Logger: f.Logger}
	for _, change := range change {
		change(&f.cfg)
	}
	var err error
	if f.hook, err = newHook(f.cfg, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ep := server.PushEndpoint("/ws")
	ep.Respond, ep.Rate.Unlimited = f.hook.Respond, true
	f.Serve(f.hook, server.Config{Responders: 2}, ep)
	return f
}

// client is a WebSocket client.
type client struct {
	t *testing.T
	io.ReadWriter
}

// dial opens a session; protocol may be empty.
func (f *fixture) dial(t *testing.T, user, protocol string) *client {
	t.Helper()
	d := ws.Dialer{Timeout: hooktest.Patience}
	if protocol != "" {
		d.Protocols = []string{protocol}
	}
	conn, read, _, err := d.Dial(t.Context(), "ws://"+f.Server.Addr().String()+"/ws?user="+user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(hooktest.Patience))
	c := &client{t, conn}
	if read != nil { // what came with the answer
		c.ReadWriter = struct {
			io.Reader
			io.Writer
		}{read, conn}
	}
	if protocol != "" {
		c.read() // hello
	}
	return c
}

func (c *client) send(op ws.OpCode, text string) {
	c.t.Helper()
	if err := wsutil.WriteClientMessage(c, op, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() string {
	c.t.Helper()
	b, _, err := wsutil.ReadServerData(c)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// ask sends a request of fanfare.v1, and returns the answer.
func (c *client) ask(text string) string {
	c.t.Helper()
	c.send(ws.OpText, `{"type":"request","id":"7","text":"`+text+`"}`)
	return c.read()
}

// verify checks the signatures of a request, and returns its document.
func verify(t *testing.T, r *http.Request) (m Message) {
	body := hooktest.Verify(t, r)
	if err := json.Unmarshal(body, &m, json.RejectUnknownMembers(true)); err != nil || m.ID != r.Header.Get("Webhook-Id") {
		t.Errorf("%s of %v: %v", body, r.Header, err)
	}
	return m
}
