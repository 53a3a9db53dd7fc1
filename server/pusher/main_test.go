package pusher

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/internal/leak"
	"fanfare/server"
)

// waitFor is a deadline that only a broken test reaches.
const waitFor = 30 * time.Second

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	leak.Main(m, waitFor, "testing.(*M).startAlarm", "internal/fuzz.", "testing.runFuzzing", "nats-server/v2/server/ats.", "nats-server/v2/server/pse.", "os/signal.")
}

const testSecret = "0123456789abcdef0123"

// testApp is an app with everything that is off by default.
func testApp() App {
	return App{ID: "app1", Key: "key1", Secret: testSecret, ClientEvents: true}
}

// start starts a server with apps; set changes its configuration.
func start(t testing.TB, apps []App, set ...func(*server.Config)) (*Service, *server.Server) {
	t.Helper()
	return startWith(t, Config{Apps: apps, Logger: slog.New(slog.DiscardHandler)}, set...)
}

func startWith(t testing.TB, conf Config, set ...func(*server.Config)) (*Service, *server.Server) {
	t.Helper()
	v, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{
		Listen: "127.0.0.1:0", Endpoints: []server.Endpoint{v.Endpoint(), server.PushEndpoint("/ws")}, Fallback: v.Handler(nil),
		Logger: slog.New(slog.DiscardHandler),
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
		v.Close()
	})
	if err := v.Serve(srv); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return v, srv
}

// received is a message of the server.
type received struct {
	Event   string
	Channel string
	Data    json.RawMessage
	UserID  string `json:"user_id"`
}

// text returns the data: a string as it is, everything else as its JSON.
func (r received) text() string {
	var s string
	if json.Unmarshal(r.Data, &s) == nil {
		return s
	}
	return string(r.Data)
}

func (r received) String() string {
	s := r.Event
	if r.Channel != "" {
		s += " " + r.Channel
	}
	if len(r.Data) > 0 {
		s += " " + r.text()
	}
	if r.UserID != "" {
		s += " by " + r.UserID
	}
	return s
}

// client is a Pusher client.
type client struct {
	t      testing.TB
	nc     net.Conn
	read   io.Reader
	socket string
}

// connect opens a connection without reading from it.
func connect(t testing.TB, srv *server.Server, target string) *client {
	t.Helper()
	nc, br, _, err := ws.Dial(t.Context(), "ws://"+srv.Addr().String()+target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(waitFor))
	c := &client{t: t, nc: nc, read: nc}
	if br != nil {
		c.read = io.MultiReader(br, nc)
	}
	return c
}

// dial opens a connection of app1.
func dial(t testing.TB, srv *server.Server) *client {
	t.Helper()
	c := connect(t, srv, "/app/key1?protocol=7&client=test&version=1&flash=false")
	var hello struct {
		SocketID        string `json:"socket_id"`
		ActivityTimeout int    `json:"activity_timeout"`
	}
	first := c.next()
	if err := json.Unmarshal([]byte(first.text()), &hello); err != nil || first.Event != "pusher:connection_established" || hello.ActivityTimeout != 120 {
		t.Fatalf("the first message is %s, %v", first, err)
	}
	c.socket = hello.SocketID
	return c
}

// rw reads what came with the answer to the handshake first.
type rw struct {
	io.Reader
	io.Writer
}

// next returns the next message.
func (c *client) next() (r received) {
	c.t.Helper()
	b, op, err := wsutil.ReadServerData(rw{c.read, c.nc})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil || op != ws.OpText {
		c.t.Fatalf("%q: %v", b, err)
	}
	return r
}

// want wants these messages next.
func (c *client) want(all ...string) {
	c.t.Helper()
	for _, want := range all {
		if got := c.next().String(); got != want {
			c.t.Fatalf("received %s, want %s", got, want)
		}
	}
}

// wantClose wants pusher:error and a close frame with a code.
func (c *client) wantClose(code server.Code) {
	c.t.Helper()
	if e := c.next(); e.Event != "pusher:error" || !strings.Contains(e.text(), fmt.Sprintf(`"code":%d`, code)) {
		c.t.Fatalf("received %s, want pusher:error with %d", e, code)
	}
	_, _, err := wsutil.ReadServerData(rw{c.read, c.nc})
	if closed, ok := err.(wsutil.ClosedError); !ok || server.Code(closed.Code) != code {
		c.t.Fatalf("the connection ended with %v, want %d", err, code)
	}
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if err := wsutil.WriteClientText(c.nc, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

// subscribe subscribes, with a signature where it is needed.
func (c *client) subscribe(channel string, data ...string) {
	app := testApp()
	in := map[string]string{"channel": channel}
	if text := c.socket + ":" + channel; isSigned(channel) {
		if len(data) > 0 {
			in["channel_data"] = data[0]
			text += ":" + data[0]
		}
		in["auth"] = app.Key + ":" + app.sign(text)
	}
	b, _ := json.Marshal(map[string]any{"event": "pusher:subscribe", "data": in})
	c.say("%s", b)
}

// call makes a request to the HTTP API of app1; change may spoil it.
func call(t testing.TB, srv *server.Server, method, path, body string, change ...func(url.Values)) (status int, answer string) {
	t.Helper()
	app := testApp()
	path, query, _ := strings.Cut(path, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q.Set("auth_key", app.Key)
	q.Set("auth_version", "1.0")
	q.Set("auth_timestamp", fmt.Sprint(time.Now().Unix()))
	if body != "" {
		q.Set("body_md5", md5Hex(body))
	}
	for _, f := range change {
		f(q)
	}
	if !q.Has("auth_signature") {
		var signed []string
		for name := range q {
			signed = append(signed, name+"="+q.Get(name))
		}
		slices.Sort(signed)
		q.Set("auth_signature", app.sign(method+"\n"+path+"\n"+strings.Join(signed, "&")))
	}
	r, err := http.NewRequest(method, "http://"+srv.Addr().String()+path+"?"+q.Encode(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// trigger publishes an event.
func trigger(t testing.TB, srv *server.Server, channel, name, data string) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"name": name, "channels": []string{channel}, "data": data})
	if status, answer := call(t, srv, "POST", "/apps/app1/events", string(body)); status != 200 || answer != "{}" {
		t.Fatalf("%d %s", status, answer)
	}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitFor); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}
