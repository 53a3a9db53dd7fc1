package api

import (
	"io"
	"net"
	"strings"
	"testing"

	"fanfare/server"
)

// TestAPIStatus has each answer that a request can get on account of its form.
func TestAPIStatus(t *testing.T) {
	s := newAPIServer(t, server.Config{MaxPayload: 1000, TopicsPerSession: 2}, Config{}, nil)
	s.connect("/ws?user=full&topic=a&topic=b")
	tests := []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"unknown route", "GET", "/v1/nothing", "", 404, "not_found"},
		{"root", "GET", "/", "", 404, "not_found"},
		{"slash at the end", "GET", "/v1/stats/", "", 404, "not_found"},
		{"dots do not lead up", "GET", "/v1/users/../stats", "", 404, "not_found"},
		{"a slash that is not encoded", "POST", "/v1/users/a/b/push", "x", 404, "not_found"},
		{"too many segments", "POST", "/v1/topics/a/users/b/c/d/e/f", "x", 404, "not_found"},
		{"prefix of a route", "GET", "/v1", "", 404, "not_found"},
		{"pprof without the flag", "GET", "/debug/pprof/", "", 404, "not_found"},

		{"get for post", "GET", "/v1/broadcast", "", 405, "method_not_allowed"},
		{"post for get", "POST", "/v1/stats", "x", 405, "method_not_allowed"},
		{"put for get", "PUT", "/v1/users/a", "x", 405, "method_not_allowed"},
		{"unknown method", "BREW", "/v1/broadcast", "x", 405, "method_not_allowed"},
		{"post to health", "POST", "/healthz", "x", 405, "method_not_allowed"},

		{"no name", "POST", "/v1/users//push", "x", 400, "bad_name"},
		{"no name at the end", "GET", "/v1/users/", "", 400, "bad_name"},
		{"half an escape", "GET", "/v1/users/a%2", "", 400, "bad_name"},
		{"no escape", "GET", "/v1/users/a%zz", "", 400, "bad_name"},
		{"NUL", "GET", "/v1/users/a%00b", "", 400, "bad_name"},
		{"line feed", "GET", "/v1/topics/a%0ab", "", 400, "bad_name"},
		{"C1 control", "GET", "/v1/topics/a%c2%85b", "", 400, "bad_name"},
		{"invalid UTF-8", "GET", "/v1/users/%ff", "", 400, "bad_name"},
		{"257 bytes", "GET", "/v1/users/" + strings.Repeat("n", 257), "", 400, "bad_name"},
		{"10 KiB", "POST", "/v1/users/" + strings.Repeat("n", 10<<10) + "/push", "x", 400, "bad_name"},
		{"second name", "PUT", "/v1/topics/a/users/%00", "x", 400, "bad_name"},
		{"30 KiB", "POST", "/v1/users/" + strings.Repeat("n", 30<<10) + "/push", "x", 431, "head_too_long"},

		{"256 bytes", "GET", "/v1/users/" + strings.Repeat("n", 256), "", 200, ""},
		{"encoded to 768 bytes", "GET", "/v1/users/" + strings.Repeat("%6e", 256), "", 200, ""},

		{"payload of the greatest size", "POST", "/v1/users/a/push", strings.Repeat("x", 1000), 200, ""},
		{"payload too big", "POST", "/v1/users/a/push", strings.Repeat("x", 1001), 413, "too_big"},
		{"topic payload too big", "POST", "/v1/topics/a/push", strings.Repeat("x", 1001), 413, "too_big"},
		{"broadcast too big", "POST", "/v1/broadcast", strings.Repeat("x", 1001), 413, "too_big"},
		{"far too big", "POST", "/v1/broadcast", strings.Repeat("x", 1<<20), 413, "too_big"},
		{"document too big", "POST", "/v1/push", strings.Repeat(" ", documentLimit(1000)+1), 413, "too_big"},
		{"payload in a document too big", "POST", "/v1/push", `{"broadcast":true,"text":"` + strings.Repeat("x", 1001) + `"}`, 413, "too_big"},

		{"not JSON", "POST", "/v1/push", `{"users":`, 400, "bad_json"},
		{"bad document", "POST", "/v1/push", `{"users":["a"]}`, 400, "bad_document"},
		{"bad name in a document", "POST", "/v1/push", `{"users":[""],"data":1}`, 400, "bad_name"},

		{"close an offline user", "DELETE", "/v1/users/offline", "", 404, "not_found"},
		{"reserved code", "DELETE", "/v1/users/a?code=1005", "", 400, "bad_code"},
		{"code below", "DELETE", "/v1/users/a?code=999", "", 400, "bad_code"},
		{"code above", "DELETE", "/v1/users/a?code=5000", "", 400, "bad_code"},
		{"code beyond 16 bits", "DELETE", "/v1/users/a?code=66536", "", 400, "bad_code"},
		{"no code", "DELETE", "/v1/users/a?code=x", "", 400, "bad_code"},
		{"reason too long", "DELETE", "/v1/users/a?reason=" + strings.Repeat("r", 124), "", 400, "bad_reason"},
		{"reason that is not UTF-8", "DELETE", "/v1/users/a?reason=%ff", "", 400, "bad_reason"},

		{"subscribe an offline user", "PUT", "/v1/topics/x/users/offline", "", 404, "not_found"},
		{"unsubscribe an offline user", "DELETE", "/v1/topics/x/users/offline", "", 404, "not_found"},
		{"too many topics", "PUT", "/v1/topics/c/users/full", "", 409, "too_many_topics"},

		{"health", "GET", "/healthz", "", 200, ""},
		{"ready", "GET", "/readyz", "", 200, ""},
		{"head", "HEAD", "/readyz", "", 200, ""},
		{"query is not part of the path", "GET", "/healthz?strict=0", "", 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.call(tt.method, tt.path, tt.body)
			if got.status != tt.status || got.errorCode() != tt.code {
				t.Errorf("got %v, want %d %s", got, tt.status, tt.code)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/json" {
				t.Errorf("content type %q", kind)
			}
			if allow := got.header.Get("Allow"); (allow != "") != (tt.status == 405) {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

// TestAPIRawRequests has requests that net/http's client would not send.
func TestAPIRawRequests(t *testing.T) {
	s := newAPIServer(t, server.Config{MaxPayload: 1000}, Config{}, nil)
	const local = "Host: localhost\r\n"
	tests := []struct {
		name, request string
		status        int
		code          string
	}{
		{"not HTTP", "\x16\x03\x01\x02\x00 hello there \r\n\r\n", 400, "bad_request"},
		{"control character in the target", "GET /v1/users/a\x01b HTTP/1.1\r\n" + local + "\r\n", 400, "bad_request"},
		{"absolute target", "GET http://localhost/healthz HTTP/1.1\r\n" + local + "\r\n", 200, ""},
		{"two slashes", "GET //v1/stats HTTP/1.1\r\n" + local + "\r\n", 404, "not_found"},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n" + local + "\r\n", 404, "not_found"},
		{"HTTP/1.0", "GET /healthz HTTP/1.0\r\n" + local + "\r\n", 200, ""},
		{"batch over HTTP/1.0", "POST /v1/batch HTTP/1.0\r\n" + local + "Content-Length: 1\r\n\r\n\n", 505, "http_version"},
		{"head that is too long", "GET /healthz HTTP/1.1\r\n" + local + "X: " + strings.Repeat("x", 17<<10) + "\r\n\r\n", 431, "head_too_long"},
		{"chunks beyond the limit", "POST /v1/broadcast HTTP/1.1\r\n" + local + "Transfer-Encoding: chunked\r\n\r\n3E9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n", 413, "too_big"},
		{"chunks", "POST /v1/broadcast HTTP/1.1\r\n" + local + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, ""},
		{"broken chunks", "POST /v1/broadcast HTTP/1.1\r\n" + local + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request"},
		{"huge declared length", "POST /v1/broadcast HTTP/1.1\r\n" + local + "Content-Length: 999999999999\r\n\r\nx", 413, "too_big"},
		{"expect", "POST /v1/broadcast HTTP/1.1\r\n" + local + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 100, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := s.raw()
			if _, err := io.WriteString(c, tt.request); err != nil {
				t.Fatal(err)
			}
			got := readAnswer(t, c)
			if got.status != tt.status || got.errorCode() != tt.code {
				t.Errorf("got %v, want %d %s", got, tt.status, tt.code)
			}
		})
	}
}

// TestAPIBodyCutOff sends a part of a body and ends the stream: nothing may be
// delivered.
func TestAPIBodyCutOff(t *testing.T) {
	for name, framing := range map[string]string{
		"length": "Content-Length: 10\r\n\r\nhalf",
		"chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"chunk":  "Transfer-Encoding: chunked\r\n\r\na\r\nhalf",
	} {
		for _, path := range []string{"/v1/broadcast", "/v1/push"} {
			t.Run(name+path, func(t *testing.T) {
				s := newAPIServer(t, server.Config{}, Config{}, nil)
				alice := s.connect("/ws?user=alice")
				c := s.raw()
				io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\n"+framing)
				c.(*net.TCPConn).CloseWrite()
				if got := readAnswer(t, c); got.status != 400 || got.errorCode() != "bad_request" {
					t.Errorf("got %v", got)
				}
				s.push("alice", server.Text, []byte("next"))
				alice.expect(server.Text, "next")
			})
		}
	}
}
