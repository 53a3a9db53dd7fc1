package servers

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
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
		if spec.Files == nil {
			if at.Dir != "" {
				t.Errorf("%s has the directory %s, but no files", spec.Name, at.Dir)
			}
			continue
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
