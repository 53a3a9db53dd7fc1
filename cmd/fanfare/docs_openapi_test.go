package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// apiCase is a request, and the status that its answer has.
type apiCase struct {
	method, path, target string // path as in openapi.yaml; target is empty if it is the same
	contentType, body    string
	status               int
}

// The servers that requests are sent to.
const (
	plainServer  = "a server with default limits, alice online"
	lockedServer = "a server with an API key, which is not sent, and without storage"
	openServer   = "a server without storage"
	smallServer  = "a server with small limits, alice online"
	fullServer   = "a server with little room for messages"

	leavingServer = "a server whose sessions are closed"
)

var apiCases = map[string][]apiCase{
	plainServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeText, "hello", 200},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=true&id=1&ttl=1h", typeText, "hello", 200},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=maybe", typeText, "hello", 400},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeText, "rain", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/kept/push?id=1", typeText, "rain", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push?durable=true", typeText, "rain", 409},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/%00/push", typeText, "rain", 400},
		{"POST", "/v1/broadcast", "", typeText, "hello", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?exclude_user=alice&exclude_user=bob&exclude_session=7", typeText, "hello", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?where=has+platform", typeText, "hello", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?over=2h", typeText, "hello", 400},
		{"POST", "/v1/broadcast", "/v1/broadcast?over=1h&key=flags", typeText, "hello", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push?over=100ms&exclude_user=bob", typeText, "rain", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?receipt=true&conflate=k", "text/plain", "x", 200},
		{"GET", "/v1/receipts/{id}", "/v1/receipts/RECEIPT", "", "", 200}, // the last one
		{"GET", "/v1/receipts/{id}", "/v1/receipts/x", "", "", 404},
		{"GET", "/v1/receipts/{id}", "/v1/receipts/%00", "", "", 400},
		{"GET", "/v1/broadcasts", "", "", "", 200},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/0000000000000cafecafe", "", "", 404},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/PACED", "", "", 200}, // the last one that was started
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/PACED", "", "", 200},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/%00", "", "", 400},
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/0000000000000cafecafe", "", "", 404},
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/%00", "", "", 400},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"hello"}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"users":["bob"],"durable":true,"id":"a","data":1}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"users":["bob","carol"],"topics":["kept"],"durable":true,"data":1}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"topics":["weather"],"durable":true,"data":1}`, 409},
		{"POST", "/v1/push", "", typeJSON, `{"user":["alice"],"text":"hello"}`, 400},
		{"POST", "/v1/batch", "", typeLines, "{\"users\":[\"alice\"],\"text\":\"1\"}\n\n{\"users\":[\"bob\",\"carol\"],\"durable\":true,\"base64\":\"AA==\"}\nx\n", 200},
		{"GET", "/v1/users/{user}", "/v1/users/alice", "", "", 200},
		{"GET", "/v1/users/{user}", "/v1/users/offline", "", "", 200},
		{"GET", "/v1/users/{user}", "/v1/users/%ff", "", "", 400},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox?after=0", "", "", 200},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/carol/inbox", "", "", 200},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox?after=x", "", "", 400},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox?after=9&epoch=x&limit=1&wait=1s", "", "", 200},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages", "", "", 200},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages?after=1&epoch=x&limit=1&wait=1s", "", "", 200},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages?limit=x", "", "", 400},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/live/messages", "", "", 409},
		{"GET", "/v1/messages", "/v1/messages?topic=kept", "", "", 200},
		{"GET", "/v1/messages", "", "", "", 400},
		{"GET", "/v1/messages", "/v1/messages?topic=live", "", "", 409},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 200},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/%00/inbox", "", "", 400},
		{"GET", "/v1/topics/{topic}", "/v1/topics/weather", "", "", 200},
		{"GET", "/v1/topics/{topic}", "/v1/topics/%00", "", "", 400},
		{"GET", "/v1/topics/{topic}/sessions", "/v1/topics/weather/sessions", "", "", 200},
		{"GET", "/v1/topics/{topic}/sessions", "/v1/topics/%00/sessions", "", "", 400},
		{"GET", "/v1/topics/{topic}/users", "/v1/topics/weather/users?limit=1&after=a", "", "", 200},
		{"GET", "/v1/topics/{topic}/users", "/v1/topics/weather/users?limit=0", "", "", 400},
		{"GET", "/v1/users", "/v1/users?topic=weather&limit=1&after=a", "", "", 200},
		{"GET", "/v1/users", "", "", "", 400},
		{"POST", "/v1/presence", "", typeJSON, `{"users":["alice","offline"]}`, 200},
		{"POST", "/v1/presence", "", typeJSON, `{"user":["alice"]}`, 400},
		{"POST", "/v1/presence", "", typeJSON, strings.Repeat(" ", 4<<20), 413},
		{"GET", "/v1/nodes", "", "", "", 200},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 200},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/offline", "", "", 404},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/%00", "", "", 400},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 200},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/offline", "", "", 404},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/%00/users/alice", "", "", 400},
		{"GET", "/v1/sessions", "/v1/sessions?user=alice", "", "", 200},
		{"GET", "/v1/sessions", "/v1/sessions?topic=weather", "", "", 200},
		{"GET", "/v1/sessions", "", "", "", 400},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"subscribe":["weather"],"limits":{"topics":5}}`, 200},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"subscribes":[]}`, 400},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/offline/refresh", typeJSON, `{"expires":0}`, 404},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"subscribe":["` + strings.Repeat("x", 64<<10) + `"]}`, 413},
		{"POST", "/v1/refresh", "/v1/refresh?user=alice", typeJSON, `{"subscribe":["weather"],"limits":{"topics":5}}`, 200},
		{"POST", "/v1/refresh", "/v1/refresh?user=alice", typeJSON, `{"subscribes":[]}`, 400},
		{"POST", "/v1/refresh", "/v1/refresh?user=offline", typeJSON, `{"expires":0}`, 404},
		{"POST", "/v1/refresh", "/v1/refresh?user=alice", typeJSON, `{"subscribe":["` + strings.Repeat("x", 64<<10) + `"]}`, 413},
		{"POST", "/v1/revocations", "", typeJSON, `{"token":"a"}`, 200},
		{"POST", "/v1/revocations", "", typeJSON, `{"user":"mallory","before":1}`, 507},
		{"POST", "/v1/revocations", "", typeJSON, `{"users":["mallory"]}`, 400},
		{"POST", "/v1/revocations", "", typeJSON, strings.Repeat(" ", 16<<10+1), 413},
		{"GET", "/v1/revocations", "", "", "", 200},
		{"DELETE", "/v1/revocations", "/v1/revocations?id=a4b1", "", "", 404},
		{"DELETE", "/v1/revocations", "/v1/revocations?id=" + revocationOfA, "", "", 200},
		{"DELETE", "/v1/revocations", "", "", "", 400},
		{"GET", "/v1/inbox", "/v1/inbox?user=bob&after=0", "", "", 200},
		{"GET", "/v1/inbox", "", "", "", 400},
		{"DELETE", "/v1/inbox", "/v1/inbox?user=bob", "", "", 200},
		{"DELETE", "/v1/inbox", "", "", "", 400},
		{"GET", "/v1/subscriptions", "/v1/subscriptions?topic=weather", "", "", 200},
		{"GET", "/v1/subscriptions", "", "", "", 400},
		{"PUT", "/v1/subscriptions", "/v1/subscriptions?user=alice&topic=news", "", "", 200},
		{"PUT", "/v1/subscriptions", "/v1/subscriptions?user=offline&topic=news", "", "", 404},
		{"PUT", "/v1/subscriptions", "", "", "", 400},
		{"DELETE", "/v1/subscriptions", "/v1/subscriptions?user=alice&topic=news", "", "", 200},
		{"DELETE", "/v1/subscriptions", "/v1/subscriptions?user=offline&topic=news", "", "", 404},
		{"DELETE", "/v1/subscriptions", "", "", "", 400},
		{"DELETE", "/v1/sessions", "/v1/sessions?user=offline", "", "", 404},
		{"DELETE", "/v1/sessions", "", "", "", 400},
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeParts, "hello", 415},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeParts, "rain", 415},
		{"POST", "/v1/broadcast", "", typeParts, "hello", 415},
		{"GET", "/healthz", "/healthz?strict=true", "", "", 200},
		{"GET", "/v1/webhooks/dead", "", "", "", 200},
		{"GET", "/v1/webhooks/dead", "/v1/webhooks/dead?after=x", "", "", 400},
		{"POST", "/v1/webhooks/dead/replay", "/v1/webhooks/dead/replay?at=1000000", "", "", 404},
		{"POST", "/v1/webhooks/dead/replay", "/v1/webhooks/dead/replay?at=0", "", "", 400},
		{"POST", "/v1/webhooks/dead/replay", "", "", "", 200},
		{"GET", "/v1/stats", "", "", "", 200},
		{"GET", "/metrics", "", "", "", 200},
		{"GET", "/healthz", "", "", "", 200},
		{"GET", "/readyz", "", "", "", 200},
		{"GET", "/debug/pprof/", "", "", "", 200},
		{"GET", "/debug/pprof/{profile}", "/debug/pprof/allocs", "", "", 200},
		{"GET", "/debug/pprof/{profile}", "/debug/pprof/nothing", "", "", 404},
		{"DELETE", "/v1/users/{user}", "/v1/users/alice?code=1", "", "", 400},
		{"DELETE", "/v1/users/{user}", "/v1/users/alice?code=4000&reason=bye", "", "", 200},
		{"DELETE", "/v1/users/{user}", "/v1/users/offline", "", "", 404},
	},
	leavingServer: {
		{"DELETE", "/v1/sessions", "/v1/sessions?user=alice&code=4000&reason=bye", "", "", 200},
	},
	lockedServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeText, "hello", 401},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeText, "rain", 401},
		{"POST", "/v1/broadcast", "", typeText, "hello", 401},
		{"GET", "/v1/receipts/{id}", "/v1/receipts/x", "", "", 401},
		{"GET", "/v1/broadcasts", "", "", "", 401},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/x", "", "", 401},
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/x", "", "", 401},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"hello"}`, 401},
		{"POST", "/v1/batch", "", typeLines, "{}\n", 401},
		{"GET", "/v1/users/{user}", "/v1/users/alice", "", "", 401},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"expires":0}`, 401},
		{"POST", "/v1/refresh", "", typeJSON, `{"expires":0}`, 401},
		{"DELETE", "/v1/users/{user}", "/v1/users/alice", "", "", 401},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 401},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 401},
		{"GET", "/v1/topics/{topic}", "/v1/topics/weather", "", "", 401},
		{"GET", "/v1/topics/{topic}/sessions", "/v1/topics/weather/sessions", "", "", 401},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 401},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 401},
		{"GET", "/v1/topics/{topic}/users", "/v1/topics/weather/users", "", "", 401},
		{"GET", "/v1/users", "", "", "", 401},
		{"POST", "/v1/presence", "", typeJSON, `{"users":["alice"]}`, 401},
		{"GET", "/v1/nodes", "", "", "", 401},
		{"GET", "/v1/sessions", "", "", "", 401},
		{"DELETE", "/v1/sessions", "", "", "", 401},
		{"GET", "/v1/revocations", "", "", "", 401},
		{"POST", "/v1/revocations", "", typeJSON, `{"user":"a"}`, 401},
		{"DELETE", "/v1/revocations", "", "", "", 401},
		{"GET", "/v1/inbox", "", "", "", 401},
		{"GET", "/v1/messages", "", "", "", 401},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages", "", "", 401},
		{"DELETE", "/v1/inbox", "", "", "", 401},
		{"GET", "/v1/subscriptions", "", "", "", 401},
		{"PUT", "/v1/subscriptions", "", "", "", 401},
		{"DELETE", "/v1/subscriptions", "", "", "", 401},
		{"GET", "/v1/webhooks/dead", "", "", "", 401},
		{"POST", "/v1/webhooks/dead/replay", "", "", "", 401},
		{"GET", "/v1/stats", "", "", "", 401},
		{"GET", "/metrics", "", "", "", 401},
		{"GET", "/healthz", "", "", "", 200},
		{"GET", "/readyz", "", "", "", 200},
		{"GET", "/debug/pprof/", "", "", "", 401},
		{"GET", "/debug/pprof/{profile}", "/debug/pprof/heap", "", "", 401},
	},
	openServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push?durable=true", typeText, "hello", 501},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push?durable=true", typeText, "rain", 501},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"hello","durable":true}`, 501},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 501},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 501},
		{"GET", "/v1/revocations", "", "", "", 501},
		{"POST", "/v1/revocations", "", typeJSON, `{"user":"a"}`, 501},
		{"DELETE", "/v1/revocations", "/v1/revocations?id=1", "", "", 501},
		{"GET", "/v1/inbox", "/v1/inbox?user=bob", "", "", 501},
		{"GET", "/v1/messages", "/v1/messages?topic=kept", "", "", 501},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages", "", "", 501},
		{"DELETE", "/v1/inbox", "/v1/inbox?user=bob", "", "", 501},
		{"GET", "/v1/webhooks/dead", "", "", "", 501},
		{"POST", "/v1/webhooks/dead/replay", "", "", "", 501},
		{"GET", "/debug/pprof/", "", "", "", 404},
	},
	smallServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeText, "too long", 413},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeText, "too long", 413},
		{"POST", "/v1/broadcast", "", typeText, "too long", 413},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"too long"}`, 413},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=true", typeText, "1", 200},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=true", typeText, "2", 507},
		{"POST", "/v1/push", "", typeJSON, `{"users":["bob"],"durable":true,"text":"2"}`, 507},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 409},
		{"PUT", "/v1/subscriptions", "/v1/subscriptions?user=alice&topic=news", "", "", 409},
	},
	fullServer: {
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/kept/push", typeText, strings.Repeat("1", 1e6), 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/kept/push", typeText, strings.Repeat("2", 1e6), 507},
	},
}

// revocationOfA is the id of a revocation of the token "a".
var revocationOfA = func() string {
	sum := sha256.Sum256([]byte("token\x00a"))
	return hex.EncodeToString(sum[:16])
}()

const typeText, typeJSON, typeLines, typeParts = "text/plain", "application/json", "application/x-ndjson", "multipart/form-data; boundary=x"

// notProvoked are statuses that no request above has.
var notProvoked = map[int]string{
	429: "needs 32 paced broadcasts at a time; a test of package api has them",
	503: "needs a store that fails, or a server that starts or ends",
	505: "net/http does not speak HTTP/1.0",
}

// TestDocsOpenAPI sends requests to real servers and compares the answers with the
// document: statuses, content types, headers and members. Every status of every
// operation is provoked, and every route of the server is in the document.
func TestDocsOpenAPI(t *testing.T) {
	withoutRace(t)
	api := loadOpenAPI(t)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := startBackend(t)
	gone.status.Store(http.StatusGone)
	servers := map[string][]string{
		plainServer: {"--data-dir=" + t.TempDir(), "--durable-topic=kept", "--pprof", "--revocation-age=30d", "--revocation-entries=1",
			"--webhook=" + gone.URL, "--webhook-secret-file=" + signingFile(t)},
		lockedServer: {"--api-key-file=" + keys, "--pprof"},
		openServer:   {},

		leavingServer: {},
		smallServer: {"--data-dir=" + t.TempDir(), "--durable-topic=kept", "--max-payload=7", "--topics-per-session=1",
			"--inbox-messages=1", "--inbox-full=reject"},
		fullServer: {"--data-dir=" + t.TempDir(), "--durable-topic=kept", "--inbox-disk=1MiB", "--inbox-bytes=16MiB"},
	}
	seen := make(map[string]bool)
	pacedID, paced := regexp.MustCompile(`^{"id":"([0-9a-f]{21})"`), ""
	receiptID, receipt := regexp.MustCompile(`"receipt":"([A-Z2-7]{26})"`), ""
	for name, cases := range apiCases {
		p := startServer(t, nil, servers[name]...)
		p.connect("/ws?user=alice&topic=weather")
		if name == plainServer { // its first events are dead letters
			attempt(t, func() bool { return strings.Contains(string(get(t, "http://"+p.api+"/v1/webhooks/dead")), "alice") })
		}
		for _, c := range cases {
			c.target = strings.Replace(c.target, "PACED", paced, 1)
			c.target = strings.Replace(c.target, "RECEIPT", receipt, 1)
			answer := api.try(t, p.api, c)
			if m := pacedID.FindSubmatch(answer); m != nil {
				paced = string(m[1])
			}
			if m := receiptID.FindSubmatch(answer); m != nil {
				receipt = string(m[1])
			}
			seen[fmt.Sprint(c.method, " ", c.path, " ", c.status)] = true
		}
	}
	for path, item := range api["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			for status := range op.(map[string]any)["responses"].(map[string]any) {
				what := strings.ToUpper(method) + " " + path + " " + status
				var n int
				fmt.Sscan(status, &n)
				if !seen[what] && notProvoked[n] == "" {
					t.Errorf("%s is in the document and not provoked by this test", what)
				}
			}
		}
	}
	for _, route := range sourceRoutes(t) {
		if _, ok := api["paths"].(map[string]any)[route]; !ok && route != "/debug/pprof" { // which is /debug/pprof/
			t.Errorf("the server has the route %s, the document has not", route)
		}
	}
}

// try sends a request, compares the answer with the document, and returns its body.
func (api openAPI) try(t *testing.T, server string, c apiCase) (body []byte) {
	t.Helper()
	target := c.target
	if target == "" {
		target = c.path
	}
	what := fmt.Sprintf("%s %s %.100s", c.method, target, c.body)
	r, err := http.NewRequest(c.method, "http://"+server+target, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", c.contentType)
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: bound}).Do(r)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != c.status {
		t.Errorf("%s: %d %s %v, want %d", what, resp.StatusCode, body, err, c.status)
		return body
	}
	item := api["paths"].(map[string]any)[c.path].(map[string]any)
	op, _ := item[strings.ToLower(c.method)].(map[string]any)
	for name := range r.URL.Query() {
		if !api.hasParameter(item, op, name) {
			t.Errorf("%s: the document has no parameter %s", what, name)
		}
	}
	response := api.follow(op["responses"].(map[string]any)[fmt.Sprint(c.status)])
	if response == nil {
		t.Errorf("%s: the document has no status %d", what, c.status)
		return body
	}
	if headers, ok := response["headers"].(map[string]any); ok {
		for name := range headers {
			if resp.Header.Get(name) == "" {
				t.Errorf("%s: the answer has no field %s", what, name)
			}
		}
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	content, ok := response["content"].(map[string]any)[media].(map[string]any)
	if err != nil || !ok {
		t.Errorf("%s: the document has no content of type %q", what, resp.Header.Get("Content-Type"))
		return body
	}
	switch media {
	case typeJSON:
		api.checkJSON(t, what, content["schema"], body)
	case typeLines:
		lines := bufio.NewScanner(strings.NewReader(string(body)))
		for lines.Scan() {
			api.checkJSON(t, what, content["schema"], lines.Bytes())
		}
	}
	return body
}

func (api openAPI) checkJSON(t *testing.T, what string, schema any, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%s: %s: %v", what, body, err)
	}
	for _, wrong := range api.check(schema, v, "the answer") {
		t.Errorf("%s: %s: %s", what, body, wrong)
	}
}

func (api openAPI) hasParameter(item, op map[string]any, name string) bool {
	for _, list := range []any{item["parameters"], op["parameters"]} {
		all, _ := list.([]any)
		for _, p := range all {
			if q := api.follow(p); q["name"] == name && q["in"] == "query" {
				return true
			}
		}
	}
	return false
}

// sourceRoutes reads the table of routes in the source of the API.
func sourceRoutes(t *testing.T) (routes []string) {
	t.Helper()
	declared := regexp.MustCompile(`path: split\("(/[^"]*)"\)`)
	err := filepath.WalkDir(docRoot+"/server", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			routes = append(routes, m[1])
		}
		return err
	})
	if err == nil && len(routes) < 15 {
		err = errors.New("is the table of routes written in another way?")
	}
	if err != nil {
		t.Fatalf("found %q: %v", routes, err)
	}
	return routes
}
