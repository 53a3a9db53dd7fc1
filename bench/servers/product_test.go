package servers

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"fanfare/bench/load"

	"github.com/nats-io/nats.go"
)

// A call is a request that a fake server received.
type call struct {
	method, path, authorization, kind, body string
}

// fake starts an HTTP server that records requests and gives one answer, and returns a Server that calls it.
func fake(t *testing.T, spec Spec, status int, answer string) (*Server, *[]call) {
	t.Helper()
	var calls []call
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		calls = append(calls, call{r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)})
		w.WriteHeader(status)
		io.WriteString(w, answer)
	}))
	t.Cleanup(h.Close)
	s := &Server{Spec: spec, API: h.URL, Key: "k", scheme: "Bearer ", http: newAPIClient()}
	s.Listen = netip.MustParseAddrPort(strings.TrimPrefix(h.URL, "http://"))
	s.credentials.Backend = "token"
	s.http.Dial = s.dialAPI
	t.Cleanup(s.http.CloseIdleConnections)
	var err error
	if s.backend, err = spec.Product.Backend(s); err != nil {
		t.Fatal(err)
	}
	return s, &calls
}

// TestBackends compares the requests with what the documentation of each server asks for. The answers were recorded.
func TestBackends(t *testing.T) {
	var c Catalog
	two := []Push{{"a", []byte(`"x"`)}, {"b", []byte(`"y"`)}}
	all := func(s *Server) (int, error) { return s.Broadcast(t.Context(), []byte(`"x"`)) }
	user := func(s *Server) (int, error) { return s.PushUser(t.Context(), "a", []byte(`"x"`)) }
	batch := func(s *Server) (int, error) { return 0, s.PushBatch(t.Context(), two) }
	for name, tt := range map[string]struct {
		spec      Spec
		do        func(*Server) (int, error)
		status    int
		answer    string
		want      call
		receivers int
		wrong     string
	}{
		"centrifugo broadcast": {spec: c.centrifugo(), do: all, answer: `{"result":{}}`, receivers: Unknown,
			want: call{"POST", "/api/publish", "apikey k", "", `{"channel":"all","data":"x"}`}},
		"centrifugo user": {spec: c.centrifugo(), do: user, answer: `{"result":{}}`, receivers: Unknown,
			want: call{"POST", "/api/publish", "apikey k", "", `{"channel":"#a","data":"x"}`}},
		"centrifugo error": {spec: c.centrifugo(), do: user, answer: `{"error":{"code":107,"message":"bad request"}}`, receivers: Unknown,
			want: call{"POST", "/api/publish", "apikey k", "", `{"channel":"#a","data":"x"}`}, wrong: "error 107: bad request"},
		"centrifugo batch": {spec: c.centrifugo(), do: batch, answer: `{"replies":[{"publish":{}},{"publish":{}}]}`,
			want: call{"POST", "/api/batch", "apikey k", "", `{"commands":[{"publish":{"channel":"#a","data":"x"}},{"publish":{"channel":"#b","data":"y"}}]}`}},
		"centrifugo batch with an error": {spec: c.centrifugo(), do: batch, answer: `{"replies":[{"publish":{}},{"error":{"code":107,"message":"bad request"}}]}`,
			want: call{"POST", "/api/batch", "apikey k", "", `{"commands":[{"publish":{"channel":"#a","data":"x"}},{"publish":{"channel":"#b","data":"y"}}]}`}, wrong: "1 of 2"},
		"fanfare broadcast": {spec: c.fanfareDefault(""), do: all, answer: `{"receivers":3}`, receivers: 3,
			want: call{"POST", "/v1/topics/all/push", "Bearer k", "application/json", `"x"`}},
		"fanfare user": {spec: c.fanfareDefault(""), do: user, answer: `{"receivers":1}`, receivers: 1,
			want: call{"POST", "/v1/users/a/push", "Bearer k", "application/json", `"x"`}},
		"fanfare batch": {spec: c.fanfareDefault(""), do: batch, answer: "{\"receivers\":1}\n{\"receivers\":1}\n",
			want: call{"POST", "/v1/batch", "Bearer k", "", "{\"users\":[\"a\"],\"data\":\"x\"}\n{\"users\":[\"b\"],\"data\":\"y\"}\n"}},
		"fanfare batch with an error": {spec: c.fanfareDefault(""), do: batch, answer: "{\"receivers\":1}\n{\"error\":{\"code\":\"bad_json\"}}\n",
			want: call{"POST", "/v1/batch", "Bearer k", "", "{\"users\":[\"a\"],\"data\":\"x\"}\n{\"users\":[\"b\"],\"data\":\"y\"}\n"}, wrong: "1 of 2"},
		"fanfare durable": {spec: c.fanfareDefault(""), do: func(s *Server) (int, error) { return 0, s.Store(t.Context(), "a", []byte(`"x"`)) }, answer: `{"receivers":0,"offset":1}`,
			want: call{"POST", "/v1/users/a/push?durable=true", "Bearer k", "application/json", `"x"`}},
		"fanfare durable batch": {spec: c.fanfareDefault(""), do: func(s *Server) (int, error) { return 0, s.StoreBatch(t.Context(), two[:1]) }, answer: `{"offset":64,"receivers":0}`,
			want: call{"POST", "/v1/batch", "Bearer k", "", "{\"durable\":true,\"users\":[\"a\"],\"data\":\"x\"}\n"}},
		"mercure broadcast": {spec: c.mercure(), do: all, answer: "urn:uuid:1", receivers: Unknown,
			want: call{"POST", "/.well-known/mercure", "Bearer token", "application/x-www-form-urlencoded", "data=%22x%22&private=on&topic=all"}},
		"mercure user": {spec: c.mercure(), do: user, answer: "urn:uuid:1", receivers: Unknown,
			want: call{"POST", "/.well-known/mercure", "Bearer token", "application/x-www-form-urlencoded", "data=%22x%22&private=on&topic=user.a"}},
		"mercure error": {spec: c.mercure(), do: user, status: 401, answer: "Unauthorized", receivers: Unknown,
			want: call{"POST", "/.well-known/mercure", "Bearer token", "application/x-www-form-urlencoded", "data=%22x%22&private=on&topic=user.a"}, wrong: "status 401: Unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			status := tt.status
			if status == 0 {
				status = http.StatusOK
			}
			s, calls := fake(t, tt.spec, status, tt.answer)
			n, err := tt.do(s)
			if (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Error(err)
			}
			if err == nil && n != tt.receivers {
				t.Errorf("%d receivers", n)
			}
			if len(*calls) != 1 {
				t.Fatalf("%+v", *calls)
			}
			got := (*calls)[0]
			if tt.want.kind == "" {
				got.kind = ""
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	var c Catalog
	for name, tt := range map[string]struct {
		spec Spec
		want string // in the claims
	}{
		"centrifugo": {c.centrifugo(), `"channels":["all"]`},
		"fanfare":    {c.fanfareDefault(""), `"topics":["all"]`},
		"mercure":    {c.mercure(), `"mercure":{"subscribe":["all","user.u7"]}`},
		"nats":       {c.nats(), `"allow":["all","user.u7"]`},
	} {
		t.Run(name, func(t *testing.T) {
			credentials, err := tt.spec.Credentials()
			if err != nil {
				t.Fatal(err)
			}
			s := &Server{Spec: tt.spec, credentials: credentials}
			tokens, err := s.Tokens([]string{"u7"})
			if err != nil || len(tokens) != 1 {
				t.Fatalf("%q: %v", tokens, err)
			}
			parts := strings.Split(tokens[0], ".")
			if len(parts) != 3 {
				t.Fatal(tokens[0])
			}
			claims, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err != nil || !json.Valid(claims) || !strings.Contains(string(claims), tt.want) {
				t.Errorf("%s: %v; want %s", claims, err, tt.want)
			}
		})
	}
	if tokens, err := new(Server).Tokens([]string{"u7"}); tokens != nil || err != nil {
		t.Errorf("%v, %v", tokens, err)
	}
}

func TestProductFiles(t *testing.T) {
	var c Catalog
	for _, spec := range append(c.Variants(), c.Products()...) {
		at := Addresses{Listen: "127.0.0.1:1", API: "127.0.0.1:2"}
		if _, err := spec.prepare(&at, PingInterval); err != nil {
			t.Fatal(err)
		}
		s := &Server{dir: at.Dir}
		files, err := os.ReadDir(at.Dir)
		if err != nil || len(files) == 0 {
			t.Errorf("%s: %v: %v", spec.Name, files, err)
		}
		if argv := spec.Args(at, PingInterval); !strings.Contains(strings.Join(argv, " "), at.Dir) {
			t.Errorf("%s: %q does not name a file", spec.Name, argv)
		}
		s.removeFiles()
		if _, err := os.Stat(at.Dir); !os.IsNotExist(err) {
			t.Errorf("%s: the files are still there: %v", spec.Name, err)
		}
	}
}

// TestNATS runs a NATS server, as the module fanfare requires it, and subscribes with the NATS client.
func TestNATS(t *testing.T) {
	program := t.TempDir() + "/nats-server"
	if err := BuildNATS(t.Context(), program); err != nil {
		t.Fatal(err)
	}
	testProduct(t, (Catalog{NATS: program}).nats())
}

// TestDefault runs the same checks on fanfare, as WebSocket and as server-sent events.
func TestDefault(t *testing.T) { testProduct(t, catalog.fanfareDefault("")) }

// TestProducts runs the same checks on the other push servers. Their programs are built first, which takes minutes, so it
// runs with make bench-servers only.
func TestProducts(t *testing.T) {
	if os.Getenv("FANFARE_BENCH_SERVERS") == "" {
		t.Skip("make bench-servers runs this test: it builds the servers")
	}
	var c Catalog
	if err := c.BuildProducts(t.Context(), []string{"centrifugo", "mercure"}); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []Spec{c.centrifugo(), c.mercure()} {
		t.Run(spec.Name, func(t *testing.T) { testProduct(t, spec) })
	}
}

// testProduct opens the sessions of two users, with clients that are not ours, and compares what they receive.
func testProduct(t *testing.T, spec Spec) {
	s := startForTest(t, Start, spec, time.Second)
	names := []string{"a", "b"}
	tokens, err := s.Tokens(names)
	if err != nil {
		t.Fatal(err)
	}
	for _, events := range []bool{false, true} {
		if events && spec.Product.Events == "" || !events && spec.Product.Path == "" {
			continue
		}
		t.Run(fmt.Sprintf("events=%t", events), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var read []func() string
			for i, user := range names {
				switch {
				case spec.Product.Dialect == load.NATS:
					read = append(read, subscribe(t, s, user, tokens[i]))
				case events:
					read = append(read, listen(t, ctx, s, user, tokens[i]))
				default:
					read = append(read, join(t, s, user, tokens[i]))
				}
			}
			if spec.Product.Counts {
				await(t, s, 2)
			}
			sent := func(receivers int, err error) {
				t.Helper()
				if err != nil {
					t.Error(err)
				}
			}
			sent(s.Broadcast(ctx, []byte(`"all 1"`)))
			sent(s.PushUser(ctx, "a", []byte(`"to a"`)))
			sent(s.PushUser(ctx, "b", []byte(`"to b"`)))
			sent(s.PushUser(ctx, "c", []byte(`"to c"`)))
			if spec.Product.Lacks["batch"] == "" {
				sent(0, s.PushBatch(ctx, []Push{{"a", []byte(`"batch a"`)}, {"b", []byte(`"batch b"`)}}))
			}
			sent(s.Broadcast(ctx, []byte(`"all 2"`)))
			for i, user := range names {
				want := []string{`"all 1"`, `"to ` + user + `"`}
				if spec.Product.Lacks["batch"] == "" {
					want = append(want, `"batch `+user+`"`)
				}
				for _, w := range append(want, `"all 2"`) {
					if got := read[i](); got != w {
						t.Errorf("%s received %s, not %s", user, got, w)
					}
				}
			}
			if spec.Product.Counts {
				cancel()
				await(t, s, 0)
			}
		})
	}
	// A token with a wrong signature opens no session.
	if spec.Product.Dialect == "" {
		resp, err := http.Get("http://" + s.Listen.String() + expandPath(spec.Product.Events, "a", tokens[0]+"x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a wrong token: %s", resp.Status)
		}
	}
}

func expandPath(path, user, token string) string {
	return strings.NewReplacer("{user}", user, "{token}", url.QueryEscape(token)).Replace(path)
}

// join opens a WebSocket of a server that is not NATS.
func join(t *testing.T, s *Server, user, token string) (read func() string) {
	c := dial(t, s, expandPath(s.Spec.Product.Path, user, token))
	unwrap := func(text string) string { return text }
	if s.Spec.Product.Dialect == load.Centrifugo {
		if err := c.WriteMessage(1, fmt.Appendf(nil, `{"token":%q}`, token)); err != nil {
			t.Fatal(err)
		}
		unwrap = centrifugoData(t)
	}
	read = func() string {
		for {
			_, p, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if text := unwrap(string(p)); text != "" {
				return text
			}
		}
	}
	if s.Spec.Product.Dialect == load.Centrifugo && read() != "connected" {
		t.Fatal("not connected")
	}
	return read
}

// centrifugoData returns a function that returns the data of a publication, "connected", or "" for a ping.
func centrifugoData(t *testing.T) func(string) string {
	return func(text string) string {
		var m struct {
			Connect *struct{ Subs map[string]any }
			Pub     *struct{ Data json.RawMessage }
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		switch {
		case m.Connect != nil && len(m.Connect.Subs) == 2:
			return "connected"
		case m.Pub != nil:
			return string(m.Pub.Data)
		}
		return ""
	}
}

// listen opens a stream of server-sent events.
func listen(t *testing.T, ctx context.Context, s *Server, user, token string) (read func() string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Listen.String()+expandPath(s.Spec.Product.Events, user, token), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v: %v", resp, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	unwrap := func(text string) string { return text }
	if s.Spec.Product.Dialect == load.Centrifugo {
		unwrap = centrifugoData(t)
	}
	read = func() string {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
				if text := unwrap(strings.TrimSpace(data)); text != "" {
					return text
				}
			}
		}
		t.Fatalf("the stream has ended: %v", lines.Err())
		return ""
	}
	if s.Spec.Product.Dialect == load.Centrifugo && read() != "connected" {
		t.Fatal("not connected")
	}
	return read
}

// subscribe subscribes with the NATS client, over WebSocket.
func subscribe(t *testing.T, s *Server, user, token string) (read func() string) {
	c, err := nats.Connect("ws://"+s.Listen.String(), nats.UserJWT(
		func() (string, error) { return token, nil }, func([]byte) ([]byte, error) { return nil, nil }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	messages := make(chan *nats.Msg, 10)
	for _, subject := range []string{load.AllChannel, load.UserChannel(user)} {
		if _, err := c.ChanSubscribe(subject, messages); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		select {
		case m := <-messages:
			return string(m.Data)
		case <-time.After(20 * time.Second):
			return "nothing"
		}
	}
}
