package connecthook

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
)

const patience = 30 * time.Second

var secrets = [][]byte{[]byte("the-first-secret-of-the-hook"), []byte("the-second-secret-of-the-hook")}

// fixture is a server whose clients are identified by a backend.
type fixture struct {
	srv  *server.Server
	hook *Hook
}

// start starts a backend and a server that asks it.
func start(t *testing.T, backend http.HandlerFunc, change ...func(*Config, *server.Config, *server.Endpoint)) *fixture {
	t.Helper()
	web := httptest.NewServer(backend)
	cfg := Config{URL: web.URL + "/connect", Secrets: secrets, Logger: slog.New(slog.DiscardHandler)}
	scfg := server.Config{Listen: "127.0.0.1:0", Logger: cfg.Logger, Identifiers: 4, Workers: 2}
	ep := server.PushEndpoint("/ws")
	for _, f := range change {
		f(&cfg, &scfg, &ep)
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = scfg.Identifiers
	}
	hook, err := newHook(cfg, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	ep.Identifier, ep.NonBlocking, ep.Insecure = hook.Identify, false, false
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

// answers is a backend that always gives the same answer.
func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// request opens a connection and sends a handshake.
func (f *fixture) request(t *testing.T, path string, lines ...string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: app.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
		path, strings.Join(append(lines, ""), "\r\n"))
	return c
}

// answer reads the answer to a handshake.
func answer(t *testing.T, c net.Conn) (resp *http.Response, body string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 {
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	}
	return resp, body
}

// metrics are those of the hook, by name and label.
func (f *fixture) metrics() map[string]int64 {
	all := make(map[string]int64)
	f.hook.EachMetric(func(name, help, label, value string, n int64) {
		if help != "" {
			all[strings.TrimSuffix(name+" "+value, " ")] = n
		}
	})
	return all
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// TestQuestion: the backend gets what the lists allow and nothing else, signed by each
// secret.
func TestQuestion(t *testing.T) {
	var got Question
	var h http.Header
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &got, json.RejectUnknownMembers(true))
		}
		if err != nil {
			t.Errorf("%q: %v", body, err)
		}
		h = r.Header
		var want []string
		for _, secret := range secrets {
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "." + string(body)))
			want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
		if s := h.Get("Webhook-Signature"); s != strings.Join(want, " ") || !strings.HasPrefix(h.Get("Webhook-Id"), "msg_") {
			t.Errorf("signature %q of %q", s, h.Get("Webhook-Id"))
		}
		io.WriteString(w, `{"user":"alice","topics":["news","scores.*"],"data":{"plan":"pro"}}`)
	}, func(cfg *Config, _ *server.Config, ep *server.Endpoint) {
		cfg.Headers, cfg.Cookies, cfg.Query = []string{"Authorization", "X-None", "x-two"}, []string{"session", "none"}, []string{"ticket", "device", "none"}
	})
	c := f.request(t, "/ws?ticket=a%20b&device=1&device=2", "Authorization: Bearer x", "X-Two: 1", "X-Two: 2", "X-Secret: y", "Cookie: session=s1; other=o1")
	if resp, body := answer(t, c); resp.StatusCode != 101 {
		t.Fatalf("%s %s", resp.Status, body)
	}
	want := Question{
		Path: "/ws", Host: "app.example.com", RemoteAddr: "127.0.0.1",
		Headers: map[string][]string{"authorization": {"Bearer x"}, "x-two": {"1", "2"}},
		Cookies: map[string]string{"session": "s1"},
		Query:   map[string][]string{"ticket": {"a b"}, "device": {"1", "2"}},
	}
	if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	if at := h.Get("Webhook-Timestamp"); at == "" || h.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", h)
	}
	list := f.srv.Sessions(t.Context(), "alice")
	if len(list.Sessions) != 1 || strings.Join(list.Sessions[0].Topics, " ") != "news" {
		t.Errorf("sessions %+v", list.Sessions)
	}
	if resp, body := answer(t, f.request(t, "/ws?ticket=a&token=b")); resp.StatusCode != 400 || !strings.Contains(body, `"token" has no effect`) {
		t.Errorf("a parameter that is not in the list: %s %s", resp.Status, body)
	}
}

// TestIdentity: data and expiry reach the session.
func TestIdentity(t *testing.T) {
	data, may := make(chan any, 1), make(chan [3]bool, 1)
	f := start(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"user":"alice","topics":["t*"],"subscribe":["s"],"publish":["p"],"presence":["q"],"data":{"plan":"pro"},"expires":%f}`, float64(time.Now().Add(time.Second).UnixMilli())/1000)
	}, func(_ *Config, _ *server.Config, ep *server.Endpoint) {
		ep.Hooks.OnOpen = func(s *server.Session) {
			data <- s.Data()
			may <- [3]bool{s.MaySubscribe("s") && s.MaySubscribe("t1"), s.MayPublish("p"), s.MayReadPresence("q")}
		}
	})
	c, _, _, err := ws.Dial(t.Context(), "ws://"+f.srv.Addr().String()+"/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if v, ok := (<-data).(jsontext.Value); !ok || string(v) != `{"plan":"pro"}` {
		t.Errorf("data %s", v)
	}
	if got := <-may; got != [3]bool{true, true, true} {
		t.Errorf("it may subscribe, publish and read presence: %v", got)
	}
	var closed wsutil.ClosedError
	if _, _, err := wsutil.ReadServerData(c); !errors.As(err, &closed) || closed.Code != 3000 {
		t.Errorf("ended with %v, want 3000", err)
	}
}

// TestHTTP2: requests to a backend that speaks HTTP/2 share a connection, which is verified
// with the authorities that are configured.
func TestHTTP2(t *testing.T) {
	const clients = 20
	var version, asked atomic.Int64
	together := make(chan struct{})
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version.Store(int64(r.ProtoMajor))
		switch asked.Add(1) {
		case 1: // from now on the hook knows that this is HTTP/2
		case 1 + clients:
			close(together)
		default:
			<-together
		}
		answers(200, `{"user":"alice"}`)(w, r)
	}))
	web.EnableHTTP2 = true
	var conns atomic.Int64
	web.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	web.StartTLS()
	defer web.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	f := start(t, answers(500, ""), func(cfg *Config, scfg *server.Config, _ *server.Endpoint) {
		cfg.URL, cfg.CA, cfg.Timeout, scfg.Identifiers, scfg.SessionsPerUser, scfg.HandshakeTimeout = web.URL, ca, patience, clients, 1+clients, patience
	})
	if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 101 {
		t.Fatalf("%s %q", resp.Status, body)
	}
	var waiting []net.Conn
	for range clients {
		waiting = append(waiting, f.request(t, "/ws"))
	}
	for _, c := range waiting {
		if resp, body := answer(t, c); resp.StatusCode != 101 {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
	if version.Load() != 2 || conns.Load() != 1 {
		t.Errorf("HTTP/%d over %d connections", version.Load(), conns.Load())
	}
}
