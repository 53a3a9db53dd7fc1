package api

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"fanfare/server"
)

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) lines() []string { return strings.Split(strings.TrimSpace(s.String()), "\n") }

// An API without keys logs once that it does not check the key of a caller.
func TestAPIUncheckedKey(t *testing.T) {
	var log syncBuffer
	s := newAPIServer(t, server.Config{}, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	s.call("GET", "/v1/stats", "")
	if strings.Contains(log.String(), "not checked") {
		t.Error("a request without a key is logged")
	}
	for range 2 {
		if got := s.call("GET", "/v1/stats", "", "Authorization", "Bearer garbage"); got.status != 200 {
			t.Errorf("status %d, want 200", got.status)
		}
	}
	if n := strings.Count(log.String(), "API key not checked"); n != 1 || strings.Contains(log.String(), "garbage") {
		t.Errorf("%d lines, want 1 without the key:\n%s", n, log.String())
	}
}

func TestAPIKeys(t *testing.T) {
	const one, two = "the-first-key-of-this-server", "the-second-key-of-this-server"
	var log syncBuffer
	s := newAPIServer(t, server.Config{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, Config{Keys: []string{one, two}}, nil)
	tests := []struct {
		name, path, field string
		status            int
	}{
		{"first key", "/v1/stats", "Bearer " + one, 200},
		{"second key", "/v1/stats", "Bearer " + two, 200},
		{"scheme in lower case", "/v1/stats", "bearer " + one, 200},
		{"more spaces", "/v1/stats", "Bearer   " + one, 200},
		{"none", "/v1/stats", "", 401},
		{"empty key", "/v1/stats", "Bearer ", 401},
		{"scheme only", "/v1/stats", "Bearer", 401},
		{"other scheme", "/v1/stats", "Basic " + one, 401},
		{"no scheme", "/v1/stats", one, 401},
		{"beginning of a key", "/v1/stats", "Bearer " + one[:20], 401},
		{"more than a key", "/v1/stats", "Bearer " + one + "x", 401},
		{"both keys", "/v1/stats", "Bearer " + one + " " + two, 401},
		{"other casing", "/v1/stats", "Bearer " + strings.ToUpper(one), 401},
		{"unknown route", "/v1/nothing", "", 401},
		{"unknown route with a key", "/v1/nothing", "Bearer " + one, 404},
		{"wrong method", "/v1/broadcast", "", 401},
		{"health", "/healthz", "", 200},
		{"ready", "/readyz", "", 200},
		{"a page with a key", "/v1/stats", "Bearer " + one, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.call("GET", tt.path, "", "Authorization", tt.field, "Host", "api.example.com")
			if got.status != tt.status {
				t.Errorf("got %v, want %d", got, tt.status)
			}
			if tt.status == 401 && (got.errorCode() != "unauthorized" || got.header.Get("WWW-Authenticate") != `Bearer realm="fanfare"`) {
				t.Errorf("got %v %v", got, got.header)
			}
		})
	}
	for _, second := range []string{"Bearer garbage", "Bearer " + one, "Basic eDp5"} {
		got := s.ask("GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + one + "\r\nAuthorization: " + second + "\r\n\r\n")
		if got.status != 400 || !strings.Contains(got.body, "the request has 2 Authorization fields: send one") {
			t.Errorf("a second field %q: got %v", second, got)
		}
	}
	c := s.raw()
	c.Write([]byte("GET /v1/stats HTTP/1.1\r\nBroken\x00: x\r\nAuthorization: Bearer " + one + "\r\n\r\n"))
	if got := readAnswer(t, c); got.status != 400 || strings.Contains(got.body, one) {
		t.Errorf("got %v", got)
	}
	if strings.Contains(log.String(), one[len(one)-8:]) {
		t.Error("a key is in the log")
	}
}

// TestSetKeys: replaced keys hold for the next request, on a connection that is open, too.
func TestSetKeys(t *testing.T) {
	const old, replacement = "the-old-key-of-this-server", "the-new-key-of-this-server"
	s := newAPIServer(t, server.Config{}, Config{Keys: []string{old}}, nil)
	status := func(key string) int { return s.call("GET", "/v1/stats", "", "Authorization", "Bearer "+key).status }
	if a, b := status(old), status(replacement); a != 200 || b != 401 {
		t.Errorf("at first: %d and %d, want 200 and 401", a, b)
	}
	if err := s.api.SetKeys([]string{replacement, "short"}); err == nil {
		t.Error("a short key is accepted")
	}
	if a, b := status(old), status(replacement); a != 200 || b != 401 {
		t.Errorf("after an error: %d and %d, want 200 and 401", a, b)
	}
	if err := s.api.SetKeys([]string{replacement}); err != nil {
		t.Fatal(err)
	}
	if a, b := status(old), status(replacement); a != 401 || b != 200 {
		t.Errorf("after SetKeys: %d and %d, want 401 and 200", a, b)
	}
}

// A request without a valid key is rejected by its head: the API does not wait for the body,
// does not ask for it, and does not take it for the next request.
func TestAPIRejectsBeforeTheBody(t *testing.T) {
	const key = "the-only-key-of-this-server"
	s := newAPIServer(t, server.Config{}, Config{Keys: []string{key}}, nil)
	alice := s.connect("/ws?user=alice")
	bodies := map[string]string{
		"length":               "Content-Length: 1000\r\n\r\n",
		"length, a part":       "Content-Length: 1000\r\n\r\nx",
		"length, all of it":    "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1e6),
		"length, expects":      "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
		"chunks":               "Transfer-Encoding: chunked\r\n\r\n",
		"chunks, a part":       "Transfer-Encoding: chunked\r\n\r\n3e8\r\nx",
		"chunks, expects":      "Transfer-Encoding: chunked\r\nexpect: 100-Continue\r\n\r\n",
		"expects for nothing":  "Expect: 100-continue\r\n\r\n",
		"keep":                 "Connection: keep-alive\r\nContent-Length: 1000\r\n\r\n",
		"none":                 "\r\n",
		"a request for a body": "Content-Length: 76\r\n\r\nPOST /v1/broadcast HTTP/1.1\r\nAuthorization: Bearer " + key + "\r\nContent-Length: 0\r\n\r\n",
	}
	for name, body := range bodies {
		for _, path := range []string{"/v1/users/alice/push", "/v1/push", "/v1/batch", "/v1/nothing"} {
			for _, field := range []string{"", "Authorization: Bearer wrong\r\n"} {
				for _, version := range []string{"1.1", "1.0"} {
					if version == "1.0" && strings.Contains(body, "chunked") {
						continue // not HTTP
					}
					c := s.raw()
					io.WriteString(c, "POST "+path+" HTTP/"+version+"\r\nHost: localhost\r\n"+field+body)
					began := time.Now()
					if got := readAnswer(t, c); got.status != 401 || got.errorCode() != "unauthorized" || !got.last {
						t.Errorf("%s, %s, %q, %s: got %v, last: %v", name, path, field, version, got, got.last)
					}
					if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 || time.Since(began) > patience/2 {
						t.Fatalf("%s, %s, %q, %s: after it %q, %v", name, path, field, version, rest, err)
					}
				}
			}
		}
	}
	s.push("alice", server.Text, []byte("nothing else came"))
	alice.expect(server.Text, "nothing else came")
}

// A client that asks before it sends a body gets 100, if its key is right.
func TestAPIExpectContinue(t *testing.T) {
	const key = "the-only-key-of-this-server"
	s := newAPIServer(t, server.Config{}, Config{Keys: []string{key}}, nil)
	for _, framing := range [][2]string{
		{"Content-Length: 3", "abc"},
		{"Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"},
	} {
		c := s.raw()
		for range 2 { // the connection stays open
			io.WriteString(c, "POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+key+"\r\nExpect: 100-continue\r\n"+framing[0]+"\r\n\r\n")
			if got := readAnswer(t, c); got.status != 100 {
				t.Fatalf("%s: got %v", framing[0], got)
			}
			io.WriteString(c, framing[1])
			if got := readAnswer(t, c); got.status != 200 || got.last {
				t.Errorf("%s: got %v", framing[0], got)
			}
		}
	}
}

// TestAPIWithoutKeys: a page in a browser on this machine must not reach the API.
func TestAPIWithoutKeys(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{Pprof: true}, nil)
	for site, status := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200, "invented": 403} {
		for _, path := range []string{"/v1/stats", "/debug/pprof/heap?gc=1", "/debug/pprof/profile?seconds=1x"} {
			want := status
			if want == 200 && strings.HasSuffix(path, "x") {
				want = 400
			}
			if got := s.call("GET", path, "", "Sec-Fetch-Site", site); got.status != want {
				t.Errorf("%s from %s: got %.100v, want %d", path, site, got, want)
			}
		}
	}
	tests := []struct {
		name, host, origin, path string
		status                   int
	}{
		{"by number", "127.0.0.1:8081", "", "/v1/stats", 200},
		{"by number without port", "127.0.0.1", "", "/v1/stats", 200},
		{"IPv6", "[::1]:8081", "", "/v1/stats", 200},
		{"IPv6 without port", "[::1]", "", "/v1/stats", 200},
		{"localhost", "localhost:8081", "", "/v1/stats", 200},
		{"Localhost", "LocalHost", "", "/v1/stats", 200},
		{"name that resolves to this machine", "evil.example:8081", "", "/v1/stats", 403},
		{"name that begins like a number", "127.0.0.1.evil.example", "", "/v1/stats", 403},
		{"name that ends like localhost", "evil.localhost.example", "", "/v1/stats", 403},
		{"page", "127.0.0.1:8081", "https://evil.example", "/v1/stats", 403},
		{"page without an origin", "127.0.0.1:8081", "null", "/v1/stats", 403},
		{"page of this machine", "localhost:8081", "http://localhost:8080", "/v1/stats", 403},
		{"health from a page", "evil.example", "https://evil.example", "/healthz", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := []string{"Host", tt.host}
			if tt.origin != "" {
				header = append(header, "Origin", tt.origin)
			}
			got := s.call("GET", tt.path, "", header...)
			if got.status != tt.status || (tt.status == 403) != (got.errorCode() == "forbidden") {
				t.Errorf("got %v, want %d", got, tt.status)
			}
		})
	}
}

func TestAPIOnUnixSocket(t *testing.T) {
	path := t.TempDir() + "/api"
	s := newAPIServer(t, server.Config{}, Config{Listen: "unix:" + path}, nil)
	s.dialUnix(path)
	if got := s.call("GET", "/v1/stats", "", "Host", "whatever"); got.status != 200 {
		t.Errorf("got %v", got)
	}
}
