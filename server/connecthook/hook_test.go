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

// TestAnswers: only an answer that says an identity in every detail makes a session.
func TestAnswers(t *testing.T) {
	soon := time.Now().Add(time.Hour).Unix()
	for _, tt := range []struct {
		name, body string
		status     int
		text       string
		result     string
	}{
		{"user", `{"user":"alice"}`, 101, "", "accepted"},
		{"everything", fmt.Sprintf(`{"user":"alice","topics":[],"data":[1],"expires":%d.5}`, soon), 101, "", "accepted"},
		{"rejection", `{"reject":{"status":403,"text":"no subscription"}}`, 403, "no subscription", "rejected"},
		{"rejection without a text", `{"reject":{"status":401}}`, 401, "Unauthorized", "rejected"},
		{"rejection by a server's fault", `{"reject":{"status":500,"text":"x"}}`, 502, "could not identify", "invalid"},
		{"rejection with a header", `{"reject":{"status":403,"text":"a\r\nb"}}`, 502, "could not identify", "invalid"},
		{"rejection of a user", `{"user":"alice","reject":{"status":403}}`, 502, "could not identify", "invalid"},
		{"misspelled rejection", `{"user":"alice","rejected":{"status":403}}`, 502, "could not identify", "invalid"},
		{"unknown member inside", `{"reject":{"status":403,"reason":"x"}}`, 502, "could not identify", "invalid"},
		{"nothing", `{}`, 502, "could not identify", "invalid"},
		{"empty", ``, 502, "could not identify", "invalid"},
		{"null", `null`, 502, "could not identify", "invalid"},
		{"empty user", `{"user":""}`, 502, "could not identify", "invalid"},
		{"user in another case", `{"User":"alice"}`, 502, "could not identify", "invalid"},
		{"user twice", `{"user":"alice","user":"bob"}`, 502, "could not identify", "invalid"},
		{"user is a number", `{"user":7}`, 502, "could not identify", "invalid"},
		{"user is not a name", `{"user":"a\u0000"}`, 502, "could not identify", "invalid"},
		{"user is not UTF-8", "{\"user\":\"a\xff\"}", 502, "could not identify", "invalid"},
		{"topics is a string", `{"user":"alice","topics":"news"}`, 502, "could not identify", "invalid"},
		{"topic is not a name", `{"user":"alice","topics":[""]}`, 502, "could not identify", "invalid"},
		{"capabilities", `{"user":"alice","subscribe":["a"],"publish":["b*"],"presence":["*"],"limits":{"messages":5}}`, 101, "", "accepted"},
		{"misspelled limit", `{"user":"alice","limits":{"mesages":5}}`, 502, "could not identify", "invalid"},
		{"limit of zero", `{"user":"alice","limits":{"topics":0}}`, 502, "could not identify", "invalid"},
		{"limits is a number", `{"user":"alice","limits":5}`, 502, "could not identify", "invalid"},
		{"publish is a string", `{"user":"alice","publish":"b"}`, 502, "could not identify", "invalid"},
		{"presence has no name", `{"user":"alice","presence":["b\n*"]}`, 502, "could not identify", "invalid"},
		{"rejection with capabilities", `{"publish":[],"reject":{"status":403}}`, 502, "could not identify", "invalid"},
		{"expired", `{"user":"alice","expires":1}`, 502, "could not identify", "invalid"},
		{"expires never", `{"user":"alice","expires":1e300}`, 502, "could not identify", "invalid"},
		{"expires is text", `{"user":"alice","expires":"2030-01-01T00:00:00Z"}`, 502, "could not identify", "invalid"},
		{"two documents", `{"user":"alice"}{}`, 502, "could not identify", "invalid"},
		{"a page", `<html>alice</html>`, 502, "could not identify", "invalid"},
		{"too long", `{"user":"alice","data":"` + strings.Repeat("x", maxAnswer) + `"}`, 503, "try again later", "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, answers(200, tt.body), func(cfg *Config, _ *server.Config, _ *server.Endpoint) {
				if tt.result == "invalid" {
					cfg.Failure = Anonymous // which is not for answers
				}
			})
			resp, body := answer(t, f.request(t, "/ws"))
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.text) {
				t.Errorf("%s %q", resp.Status, body)
			}
			if m := f.metrics(); m["connect_hook_total "+tt.result] != 1 {
				t.Errorf("metrics %v", m)
			}
		})
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

// TestFailure: what a backend that does not work means for clients.
func TestFailure(t *testing.T) {
	for _, tt := range []struct {
		name    string
		backend http.HandlerFunc
	}{
		{"500", answers(500, `{"user":"alice"}`)},
		{"403 of something on the way", answers(403, `{"user":"alice"}`)},
		{"201", answers(201, `{"user":"alice"}`)},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}},
		{"breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			quick := func(cfg *Config, _ *server.Config, _ *server.Endpoint) {
				if tt.name == "hangs" {
					cfg.Timeout = 50 * time.Millisecond
				}
			}
			f := start(t, tt.backend, quick)
			if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s %q", resp.Status, body)
			}
			if m := f.metrics(); m["connect_hook_total failed"] != 1 {
				t.Errorf("metrics %v", m)
			}
			f = start(t, tt.backend, quick, func(cfg *Config, _ *server.Config, _ *server.Endpoint) { cfg.Failure = Anonymous })
			for range 2 {
				if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 101 {
					t.Errorf("anonymous: %s %q", resp.Status, body)
				}
			}
			if users := f.srv.Stats().Users; users != 2 {
				t.Errorf("%d users for two anonymous sessions", users)
			}
		})
	}
}

// TestBreaker: after failures in a row clients are answered without a request, and one
// request finds out that the backend works again.
func TestBreaker(t *testing.T) {
	var requests atomic.Int64
	var works atomic.Bool
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if works.Load() {
			answers(200, `{"user":"alice"}`)(w, r)
			return
		}
		w.WriteHeader(500)
	}, func(_ *Config, scfg *server.Config, _ *server.Endpoint) { scfg.SessionsPerUser = 1000 })
	const more = 200
	for range tripAfter + more {
		if resp, _ := answer(t, f.request(t, "/ws")); resp.StatusCode != 503 {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	// While it is open one request in a while finds out whether the backend works.
	m := f.metrics()
	if n := requests.Load(); n < tripAfter || m["connect_hook_total failed"] != n || m["connect_hook_total skipped"] != tripAfter+more-n || m["connect_hook_total skipped"] == 0 {
		t.Errorf("%d requests, metrics %v", n, m)
	}
	works.Store(true)
	await(t, "it works again", func() bool {
		resp, _ := answer(t, f.request(t, "/ws"))
		return resp.StatusCode == 101
	})
	if m := f.metrics(); m["connect_hook_open"] != 0 || m["connect_hook_total accepted"] != 1 {
		t.Errorf("metrics %v", m)
	}
}

// TestHanging: while the backend hangs, open sessions notice nothing, a client that leaves
// ends its request, and no more requests are under way than the configuration says.
func TestHanging(t *testing.T) {
	release := make(chan struct{})
	var under, most, ended atomic.Int64
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.Contains(string(body), "early") {
			io.WriteString(w, `{"user":"early"}`)
			return
		}
		n := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		select {
		case <-release:
			io.WriteString(w, `{"user":"late"}`)
		case <-r.Context().Done():
			ended.Add(1)
		}
	}, func(cfg *Config, scfg *server.Config, ep *server.Endpoint) {
		cfg.Query, cfg.Timeout = []string{"who"}, patience
		scfg.HandshakeTimeout, scfg.SessionsPerUser, scfg.Workers, scfg.Identifiers = patience, 100, 1, 3
	})
	early, _, _, err := ws.Dial(t.Context(), "ws://"+f.srv.Addr().String()+"/ws?who=early")
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	var waiting []net.Conn
	for range 20 {
		waiting = append(waiting, f.request(t, "/ws?who=late"))
	}
	await(t, "requests are under way", func() bool { return under.Load() == 3 })
	if d, err := f.srv.Push(t.Context(), "early", server.NewMessage(server.Text, []byte("meanwhile"))); err != nil || d.Receivers != 1 {
		t.Errorf("pushed to %+v, %v", d, err)
	}
	early.SetDeadline(time.Now().Add(patience))
	if msg, _, err := wsutil.ReadServerData(early); string(msg) != "meanwhile" {
		t.Errorf("received %q, %v", msg, err)
	}
	for _, c := range waiting[:10] { // some are asked about, others wait
		c.Close()
	}
	await(t, "the requests of clients that left end", func() bool { return ended.Load() > 0 && under.Load() == 3 })
	close(release)
	for _, c := range waiting[10:] {
		if resp, body := answer(t, c); resp.StatusCode != 101 {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
	if n := most.Load(); n > 3 {
		t.Errorf("%d requests at a time, want 3", n)
	}
	if m := f.metrics(); m["connect_hook_total failed"] != 0 || m["connect_hook_total canceled"] == 0 || m["connect_hook_requests"] != 0 {
		t.Errorf("metrics %v", m)
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
		if asked.Add(1) == clients {
			close(together)
		}
		<-together
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
		cfg.URL, cfg.CA, cfg.Timeout, scfg.Identifiers, scfg.SessionsPerUser, scfg.HandshakeTimeout = web.URL, ca, patience, clients, clients, patience
	})
	var waiting []net.Conn
	for range clients {
		waiting = append(waiting, f.request(t, "/ws"))
	}
	for _, c := range waiting {
		if resp, body := answer(t, c); resp.StatusCode != 101 {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
	if version.Load() != 2 || conns.Load() >= clients/2 {
		t.Errorf("HTTP/%d over %d connections", version.Load(), conns.Load())
	}
}

// TestSetConfig: a new configuration holds for the next handshake, and an invalid one
// changes nothing.
func TestSetConfig(t *testing.T) {
	f := start(t, answers(200, `{"user":"alice"}`))
	other := httptest.NewServer(answers(200, `{"user":"bob"}`))
	defer other.Close()
	cfg := f.hook.current.Load().Config
	cfg.Secrets = nil
	if err := f.hook.SetConfig(cfg); err == nil {
		t.Error("a configuration without secrets was accepted")
	}
	cfg.Secrets, cfg.URL = secrets, other.URL
	for _, user := range []string{"alice", "bob"} {
		if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 101 {
			t.Errorf("%s %q", resp.Status, body)
		}
		if n := len(f.srv.Sessions(t.Context(), user).Sessions); n != 1 {
			t.Errorf("%s has %d sessions", user, n)
		}
		if err := f.hook.SetConfig(cfg); err != nil {
			t.Error(err)
		}
	}
	f.hook.Close()
}

// TestConfig: every mistake in a configuration names its field.
func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		field  string
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"URL", func(c *Config) { c.URL = "" }},
		{"URL", func(c *Config) { c.URL = "http://backend.example/" }},
		{"", func(c *Config) { c.URL, c.InsecureHTTP = "http://backend.example/", true }},
		{"URL", func(c *Config) { c.URL = "https://user:password@backend.example/" }},
		{"URL", func(c *Config) { c.CA = "/nowhere" }},
		{"Secrets", func(c *Config) { c.Secrets = nil }},
		{"Secrets", func(c *Config) { c.Secrets = [][]byte{[]byte("short")} }},
		{"Timeout", func(c *Config) { c.Timeout = time.Hour }},
		{"Concurrency", func(c *Config) { c.Concurrency = -1 }},
		{"Failure", func(c *Config) { c.Failure = 7 }},
		{"Headers", func(c *Config) { c.Headers = []string{"a b"} }},
		{"Cookies", func(c *Config) { c.Cookies = []string{""} }},
		{"Query", func(c *Config) { c.Query = make([]string, maxNames+1) }},
	} {
		cfg := Config{URL: "https://backend.example/", Secrets: secrets}
		tt.change(&cfg)
		err := cfg.Validate()
		var named interface{ Field() string }
		if tt.field == "" && err != nil || tt.field != "" && (!errors.As(err, &named) || named.Field() != tt.field) {
			t.Errorf("%v, want an error in %q", err, tt.field)
		}
		if err != nil && strings.Contains(err.Error(), "the-first-secret") {
			t.Error("the error has a secret")
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{"whsec_YWJj": "abc", "plain": "plain", "whsec_!": ""} {
		got, err := ParseSecret(text)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]Failure{"reject": Reject, "anonymous": Anonymous} {
		if got, err := ParseFailure(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := ParseFailure("open"); err == nil {
		t.Error("an unknown policy was accepted")
	}
}

// FuzzAnswer: an identity has a valid user, whatever the backend says.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"user":"alice","topics":["a*"],"expires":9e9,"data":null}`))
	f.Add([]byte(`{"reject":{"status":403,"text":"x"}}`))
	now := time.Now()
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := parseAnswer(body, now)
		if err != nil {
			if id.User != "" {
				t.Errorf("%q has an error and a user", body)
			}
			return
		}
		var a Answer
		if e := json.Unmarshal(body, &a); e != nil || a.User != id.User || a.User == "" || a.Reject != nil {
			t.Errorf("%q is %+v", body, id)
		}
	})
}
