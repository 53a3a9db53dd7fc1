package main

import (
	"bufio"
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
	long := strings.NewReplacer("4MIB", strings.Repeat(" ", 4<<20), "MEGABYTE", strings.Repeat("x", 1e6))
	sessionID, session := regexp.MustCompile(`"sessions":\[{"id":"([0-9]+)"`), ""
	for name, cases := range apiCases {
		p := startServer(t, nil, servers[name]...)
		p.connect("/ws?user=alice&topic=weather")
		if name == plainServer { // its first events are dead letters
			attempt(t, func() bool { return strings.Contains(string(get(t, "http://"+p.api+"/v1/webhooks/dead")), "alice") })
		}
		for _, c := range cases {
			c.target = strings.Replace(c.target, "PACED", paced, 1)
			c.target = strings.Replace(c.target, "RECEIPT", receipt, 1)
			c.body = long.Replace(c.body)
			c.target = strings.Replace(c.target, "SESSION", session, 1)
			answer := api.try(t, p.api, c)
			if m := sessionID.FindSubmatch(answer); m != nil {
				session = string(m[1])
			}
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
			if len(lines.Bytes()) > 0 { // the others only say that the stream lives
				api.checkJSON(t, what, content["schema"], lines.Bytes())
			}
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
