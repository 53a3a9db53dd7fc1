package messagehook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
)

const patience = 30 * time.Second

var secrets = [][]byte{[]byte("the-first-secret-of-the-hook"), []byte("the-second-secret-of-the-hook")}

// fixture is a server whose clients are answered by a backend.
type fixture struct {
	srv  *server.Server
	hook *Hook
}

// start starts a backend and a server that asks it.
func start(t *testing.T, backend http.HandlerFunc, change ...func(*Config, *server.Config)) *fixture {
	t.Helper()
	web := httptest.NewServer(backend)
	cfg := Config{URL: web.URL + "/message", Secrets: secrets, Logger: slog.New(slog.DiscardHandler)}
	scfg := server.Config{Listen: "127.0.0.1:0", Logger: cfg.Logger, Responders: 2, Workers: 2}
	for _, f := range change {
		f(&cfg, &scfg)
	}
	hook, err := newHook(cfg, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	ep := server.PushEndpoint("/ws")
	ep.Respond, ep.Rate.Unlimited = hook.Respond, true
	scfg.Endpoints = []server.Endpoint{ep}
	srv, err := server.New(scfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
		hook.Close()
		web.Close()
	})
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return &fixture{srv, hook}
}

// client is a WebSocket client.
type client struct {
	t *testing.T
	io.ReadWriter
}

// dial opens a session; protocol may be empty.
func (f *fixture) dial(t *testing.T, user, protocol string) *client {
	t.Helper()
	d := ws.Dialer{Timeout: patience}
	if protocol != "" {
		d.Protocols = []string{protocol}
	}
	conn, read, _, err := d.Dial(t.Context(), "ws://"+f.srv.Addr().String()+"/ws?user="+user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
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
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	var want []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body)
		want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if got := r.Header.Get("Webhook-Signature"); got != strings.Join(want, " ") {
		t.Errorf("the signature is %q, want %q", got, want)
	}
	if err := json.Unmarshal(body, &m, json.RejectUnknownMembers(true)); err != nil {
		t.Errorf("%s: %v", body, err)
	}
	if m.ID == "" || m.ID != r.Header.Get("Webhook-Id") || r.Header.Get("Content-Type") != "application/json" || r.Method != "POST" {
		t.Errorf("%s with %v", body, r.Header)
	}
	return m
}

// counts are the results that are not 0.
func (f *fixture) counts() map[string]int64 {
	all := make(map[string]int64)
	f.hook.EachMetric(func(name, _, label, value string, n int64) {
		if label == "result" && n > 0 {
			all[value] = n
		} else if label == "" && n > 0 {
			all[name] = n
		}
	})
	return all
}
