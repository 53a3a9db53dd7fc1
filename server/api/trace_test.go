package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// stream opens a stream of events.
func (s *apiServer) stream(path, accept string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequest("GET", "http://"+s.api.Addr().String()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestTrace: events come while they happen, in either form, until the time has passed.
func TestTrace(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{MaxConnections: 80}, func(a *API) { a.traceBeat = 5 * time.Millisecond })
	for _, form := range []struct{ accept, path, mediaType, before string }{
		{"*/*", "/v1/users/a%2Fb/trace?payload=true&for=1h", "application/x-ndjson", ""},
		{"text/event-stream", "/v1/trace?user=a%2Fb&for=3600", "text/event-stream", "data: "},
	} {
		resp := s.stream(form.path, form.accept)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != form.mediaType {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		lines := bufio.NewScanner(resp.Body)
		var got []string
		read := func() bool {
			for lines.Scan() {
				if text, ok := strings.CutPrefix(lines.Text(), form.before); ok && text != "" {
					got = append(got, text)
					return true
				}
			}
			return false
		}
		read()
		c := s.connect("/ws?user=a%2Fb&topic=t")
		read()
		s.push("a/b", server.Text, []byte("hello"))
		read()
		c.Close()
		read()
		resp.Body.Close()
		want := []string{`{"event":"trace","user":"a/b","until":"20.*Z","complete":true}`,
			`{"event":"opened","time":"20.*Z","session":"\d+","endpoint":"/ws","dialect":"plain","remote_addr":"127.*","topics":\["t"\]}`,
			`{"event":"delivered","time":"20.*Z","session":"\d+","bytes":5` + map[bool]string{true: `,"text":"hello"`}[form.before == ""] + `}`,
			`{"event":"closed","time":"20.*Z","session":"\d+","code":1006,"by":"network"}`}
		if text := strings.Join(got, "\n"); !regexp.MustCompile("^" + strings.Join(want, "\n") + "$").MatchString(text) {
			t.Errorf("%s", text)
		}
	}
	if got := s.call("GET", "/v1/users/a/trace?for=100ms", ""); !regexp.MustCompile(`^{"event":"trace","user":"a".*}\n\n*{"event":"end"}\n$`).MatchString(got.body) {
		t.Errorf("%s", got)
	}
	for path, want := range map[string]string{
		"/v1/users/a/trace?for=":          "400 bad_query",
		"/v1/users/a/trace?for=99ms":      "400 bad_query",
		"/v1/users/a/trace?for=2h":        "400 bad_query",
		"/v1/users/a/trace?for=soon":      "400 bad_query",
		"/v1/users/a/trace?payload=maybe": "400 bad_query",
		"/v1/users/%00/trace":             "400 bad_name",
		"/v1/trace":                       "400 bad_query",
	} {
		if got := s.call("GET", path, ""); fmt.Sprint(got.status, " ", got.errorCode()) != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := s.call("HEAD", "/v1/users/a/trace", ""); got.status != 200 || got.body != "" {
		t.Errorf("HEAD: %s", got)
	}
	for range server.MaxTraces {
		s.stream("/v1/users/a/trace", "*/*")
	}
	if got := s.call("GET", "/v1/users/a/trace", ""); got.status != 429 || got.errorCode() != "too_many_traces" {
		t.Errorf("one too many: %s", got)
	}
}

// TestTraceEnds: a client that has left releases its trace, and so does the end of the API, which
// says so.
func TestTraceEnds(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{MaxConnections: 4}, func(a *API) { a.traceBeat = 5 * time.Millisecond })
	var all []*http.Response
	for range 2 { // half of the connections
		all = append(all, s.stream("/v1/users/a/trace", "*/*"))
	}
	if got := s.call("GET", "/v1/users/a/trace", ""); got.status != 429 || got.errorCode() != "too_many_waiting" {
		t.Errorf("one too many: %s", got)
	}
	all[0].Body.Close()
	for deadline := time.Now().Add(patience); s.api.waiting.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the trace of a client that has left is not released")
		}
	}
	s.api.endWaits()
	text, err := io.ReadAll(all[1].Body)
	lines := strings.Fields(strings.ReplaceAll(string(text), " ", "_"))
	var last struct{ Event, Reason string }
	if json.Unmarshal([]byte(strings.ReplaceAll(lines[len(lines)-1], "_", " ")), &last); err != nil || last.Event != "end" || last.Reason != "the server is shutting down" {
		t.Errorf("%q, %v", text, err)
	}
	if got := s.call("GET", "/v1/users/a/trace", ""); got.status != 503 {
		t.Errorf("after the end: %s", got)
	}
}

// TestTraceMissing: nodes that do not answer are in the first line, and news later.
func TestTraceMissing(t *testing.T) {
	cluster := new(fakeCluster)
	s := newAPIServer(t, server.Config{Cluster: cluster}, Config{}, nil)
	cluster.missing = server.Coverage{Missing: 1, MissingNodes: []string{"b:1"}}
	lines := bufio.NewScanner(s.stream("/v1/users/a/trace?for=1m", "*/*").Body)
	if lines.Scan(); !strings.Contains(lines.Text(), `"complete":false,"missing":["b:1"]}`) {
		t.Errorf("%s", lines.Text())
	}
}
