package connecthook

import (
	"bufio"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
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
	"fanfare/server/internal/hooktest"
)

// fixture is a server whose clients are identified by a backend.
type fixture struct {
	*hooktest.Fixture
	hook *Hook
	cfg  Config // of hook
}

// start starts a backend and a server that asks it.
func start(t *testing.T, backend http.HandlerFunc, change ...func(*Config, *server.Config, *server.Endpoint)) *fixture {
	t.Helper()
	f := &fixture{Fixture: hooktest.New(t, backend)}
	f.cfg = Config{URL: f.URL + "/connect", Secrets: hooktest.Secrets, Logger: f.Logger}
	scfg := server.Config{Identifiers: 4}
	ep := server.PushEndpoint("/ws")
	for _, change := range change {
		change(&f.cfg, &scfg, &ep)
	}
	if f.cfg.Concurrency == 0 {
		f.cfg.Concurrency = scfg.Identifiers
	}
	var err error
	if f.hook, err = newHook(f.cfg, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	ep.Identifier, ep.NonBlocking, ep.Insecure = f.hook.Identify, false, false
	f.Serve(f.hook, scfg, ep)
	return f
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
	c, err := net.Dial("tcp", f.Server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(hooktest.Patience))
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

// TestQuestion: the backend gets what the lists allow and nothing else, signed by each
// secret.
func TestQuestion(t *testing.T) {
	var got Question
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		body := hooktest.Verify(t, r)
		if err := json.Unmarshal(body, &got, json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%q: %v", body, err)
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
	list := f.Server.Sessions(t.Context(), "alice")
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
	c, _, _, err := ws.Dial(t.Context(), "ws://"+f.Server.Addr().String()+"/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(hooktest.Patience))
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
		cfg.URL, cfg.CA, cfg.Timeout, scfg.Identifiers, scfg.SessionsPerUser, scfg.HandshakeTimeout = web.URL, ca, hooktest.Patience, clients, 1+clients, hooktest.Patience
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
