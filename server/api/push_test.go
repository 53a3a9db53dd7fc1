package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"fanfare/server"
)

// TestAPIPush delivers bodies byte for byte, as text if they are UTF-8 and not declared
// to be binary.
func TestAPIPush(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	alice := s.connect("/ws?user=alice&topic=news")
	phone := s.connect("/ws?user=alice")
	bob := s.connect("/ws?user=bob&topic=news")
	const invalid = "\"\xff\""
	tests := []struct {
		name, path, kind, body string
		op                     server.Op
		to                     []*wsClient
	}{
		{"user, JSON", "/v1/users/alice/push", "application/json", `{"a": 1 }`, server.Text, []*wsClient{alice, phone}},
		{"user, JSON with parameter", "/v1/users/bob/push", "Application/JSON ; charset=utf-8", `1`, server.Text, []*wsClient{bob}},
		{"user, JSON suffix", "/v1/users/bob/push", "application/problem+json", `{}`, server.Text, []*wsClient{bob}},
		{"user, text", "/v1/users/bob/push", "text/plain", "grüße\n", server.Text, []*wsClient{bob}},
		{"user, HTML", "/v1/users/bob/push", "TEXT/html", "<p>", server.Text, []*wsClient{bob}},
		{"user, XML", "/v1/users/bob/push", "image/svg+xml", "<svg/>", server.Text, []*wsClient{bob}},
		{"user, what curl -d sends", "/v1/users/bob/push", "application/x-www-form-urlencoded", "2:1", server.Text, []*wsClient{bob}},
		{"user, no type", "/v1/users/bob/push", "", "a", server.Text, []*wsClient{bob}},
		{"user, unknown type", "/v1/users/bob/push", "textual/plain", "a", server.Text, []*wsClient{bob}},
		{"user, broken type", "/v1/users/bob/push", "text; ;=", "a", server.Text, []*wsClient{bob}},
		{"user, ASCII in Latin 1", "/v1/users/bob/push", "text/plain; charset=ISO-8859-1", "a", server.Text, []*wsClient{bob}},
		{"user, JSON that is not UTF-8", "/v1/users/bob/push", "application/json", invalid, server.Binary, []*wsClient{bob}},
		{"user, text that is not UTF-8", "/v1/users/bob/push", "text/plain", invalid, server.Binary, []*wsClient{bob}},
		{"user, a form that is not UTF-8", "/v1/users/bob/push", "application/x-www-form-urlencoded", invalid, server.Binary, []*wsClient{bob}},
		{"user, no type and not UTF-8", "/v1/users/bob/push", "", invalid, server.Binary, []*wsClient{bob}},
		{"user, binary", "/v1/users/bob/push", "application/octet-stream", "plain", server.Binary, []*wsClient{bob}},
		{"user, image", "/v1/users/bob/push", "IMAGE/png", "plain", server.Binary, []*wsClient{bob}},
		{"user, protocol buffer", "/v1/users/bob/push", "application/x-protobuf; proto=a.B", "plain", server.Binary, []*wsClient{bob}},
		{"user, CBOR suffix", "/v1/users/bob/push", "application/senml+cbor", "plain", server.Binary, []*wsClient{bob}},
		{"user, empty", "/v1/users/bob/push", "text/plain", "", server.Text, []*wsClient{bob}},
		{"topic", "/v1/topics/news/push", "text/plain", "to a topic", server.Text, []*wsClient{alice, bob}},
		{"everybody", "/v1/broadcast", "text/plain", "to all", server.Text, []*wsClient{alice, phone, bob}},
		{"a user who is offline", "/v1/users/carol/push", "text/plain", "x", server.Text, nil},
		{"a topic without subscribers", "/v1/topics/none/push", "text/plain", "x", server.Text, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.call("POST", tt.path, tt.body, "Content-Type", tt.kind)
			want := receivers(len(tt.to))
			if got.status != http.StatusOK || got.body != want {
				t.Errorf("got %v, want %s", got, want)
			}
			for _, c := range tt.to {
				c.expect(tt.op, tt.body)
			}
		})
	}
}

// TestAPINames has users whose names need encoding in a path.
func TestAPINames(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	tests := []struct{ name, query, path string }{
		{"a/b", "a/b", "a%2Fb"},
		{"a/b in lower case", "a/b", "a%2fb"},
		{"two dots", "..", ".."},
		{"two dots, encoded", "..", "%2e%2E"},
		{"dot", ".", "."},
		{"plus stays plus", "a%2Bb", "a+b"},
		{"space", "a+b", "a%20b"},
		{"percent", "100%25", "100%25"},
		{"encoded percent of an escape", "%2541", "%2541"},
		{"question mark and hash", "%3F%23", "%3F%23"},
		{"umlaut", "%C3%BC", "%C3%BC"},
		{"umlaut as it is", "%C3%BC", "\u00fc"},
		{"colon and slashes", "http://x", "http:%2F%2Fx"},
		{"word of a route", "push", "push"},
		{"braces", "{user}", "{user}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := s.connect("/ws?user=" + tt.query)
			defer c.Close()
			if got := s.call("POST", "/v1/users/"+tt.path+"/push", "x"); got.body != `{"receivers":1}`+"\n" {
				t.Errorf("got %v", got)
			}
			c.expect(server.Text, "x")
			if got := s.call("DELETE", "/v1/users/"+tt.path, ""); got.status != 200 {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestAPIUnsupported: what would change the meaning of a request is rejected where it is
// not supported, and nothing is delivered.
func TestAPIUnsupported(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	alice := s.connect("/ws?user=alice")
	for _, test := range []struct {
		name, method, path, body, field, value string
		status                                 int
		want                                   string
	}{
		{"compressed", "POST", "/v1/users/alice/push", "x", "Content-Encoding", "gzip", 415, "Content-Encoding \\\"gzip\\\" is not supported"},
		{"compressed document", "POST", "/v1/push", `{"users":["alice"],"data":1}`, "Content-Encoding", "br", 415, "unsupported_encoding"},
		{"compressed batch", "POST", "/v1/batch", `{"users":["alice"],"data":1}`, "Content-Encoding", "zstd", 415, "unsupported_encoding"},
		{"two encodings", "POST", "/v1/broadcast", "x", "Content-Encoding", "identity, gzip", 415, "unsupported_encoding"},
		{"parts", "POST", "/v1/users/alice/push", "--x\r\n\r\n\r\n--x--\r\n", "Content-Type", "multipart/form-data; boundary=x", 415, "unsupported_type"},
		{"UTF-16", "POST", "/v1/users/alice/push", "x\x00", "Content-Type", "text/plain; charset=utf-16", 415, "unsupported_charset"},
		{"Latin 1", "POST", "/v1/users/alice/push", "gr\xfc\xdfe", "Content-Type", "text/plain; charset=iso-8859-1", 415, "unsupported_charset"},
		{"range", "POST", "/v1/users/alice/push", "x", "Content-Range", "bytes 0-0/2", 400, "bad_header"},
		{"idempotency", "POST", "/v1/users/alice/push", "x", "Idempotency-Key", "1", 400, "repeat durable messages with the same id"},
		{"condition", "DELETE", "/v1/users/alice", "", "If-Match", `"1"`, 400, "bad_header"},
		{"other method", "POST", "/v1/users/alice/push", "x", "X-HTTP-Method-Override", "DELETE", 400, "bad_header"},
		{"other method of a GET", "GET", "/v1/users/alice", "", "X-HTTP-Method-Override", "DELETE", 400, "send the request with that method"},
		{"time to live of Web Push", "POST", "/v1/users/alice/push", "x", "TTL", "60", 400, "the header field TTL is not supported: use the parameters durable and ttl"},
		{"urgency of Web Push", "POST", "/v1/broadcast", "x", "Urgency", "high", 400, "the header field Urgency"},
		{"topic of Web Push", "POST", "/v1/users/alice/push", "x", "topic", "news", 400, "the header field Topic"},
		{"APNs", "POST", "/v1/users/alice/push", "x", "apns-expiration", "0", 400, "the header field Apns-Expiration"},
		{"other idempotency", "POST", "/v1/users/alice/push", "x", "X-Idempotency-Key", "1", 400, "the same id"},
		{"condition of a GET", "GET", "/v1/users/alice", "", "If-None-Match", `"1"`, 200, ""},
		{"Prefer", "POST", "/v1/users/bob/push", "x", "Prefer", "respond-async", 200, ""},
		{"Range", "POST", "/v1/users/bob/push", "x", "Range", "bytes=0-1", 200, ""},
		{"empty", "POST", "/v1/users/bob/push", "x", "TTL", "", 200, ""},
		{"body of DELETE", "DELETE", "/v1/users/alice", `{"code":4000}`, "", "", 400, "takes no body"},
		{"body of GET", "GET", "/v1/users/alice", "x", "", "", 400, "takes no body"},
		{"body of PUT", "PUT", "/v1/topics/a/users/alice", "{}", "", "", 400, "takes no body"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var header []string
			if test.field != "" {
				header = []string{test.field, test.value}
			}
			got := s.call(test.method, test.path, test.body, header...)
			if got.status != test.status || !strings.Contains(got.body, test.want) {
				t.Errorf("got %v, want %d %s", got, test.status, test.want)
			}
		})
	}
	if got := s.ask("POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nExpect: a miracle\r\nContent-Length: 1\r\n\r\nx"); got.status != 417 {
		t.Errorf("expectation: %v", got)
	}
	if got := s.ask("POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"); got.status != 501 {
		t.Errorf("transfer coding: %v", got)
	}
	if got := s.call("POST", "/v1/users/alice/push", "last", "Content-Encoding", "identity"); got.status != 200 {
		t.Errorf("identity: %v", got)
	}
	alice.expect(server.Text, "last")
}

// An answer that does not count every node says so, and which nodes are missing, on every
// route that asks other nodes.
func TestAPIIncompleteAnswers(t *testing.T) {
	cluster := new(fakeCluster)
	s := newAPIServer(t, server.Config{Cluster: cluster}, Config{}, nil)
	var names []string
	for i := range server.MaxMissingNodes + 2 {
		names = append(names, fmt.Sprintf("n%02d:8081", i))
	}
	for _, c := range []struct {
		coverage server.Coverage
		want     string
	}{
		{server.Coverage{Missing: 1, MissingNodes: []string{"b:8081"}}, `"complete":false,"missing":["b:8081"]`},
		{server.Coverage{Missing: 2, MissingNodes: []string{"b", "a"}}, `"complete":false,"missing":["a","b"]`},
		{server.Coverage{Missing: 2, MissingNodes: []string{"b", "b"}}, `"complete":false,"missing":["b"],"missing_count":2`},
		{server.Coverage{Missing: 3}, `"complete":false,"missing_count":3`},
		{server.Coverage{Missing: len(names), MissingNodes: names}, fmt.Sprintf(`"complete":false,"missing":["%s"],"missing_count":%d`,
			strings.Join(names[:server.MaxMissingNodes], `","`), len(names))},
		{server.Coverage{}, ""},
	} {
		cluster.missing = c.coverage
		s.connect("/ws?user=alice") // closed by a request below
		for _, test := range []struct{ method, path, body string }{
			{"POST", "/v1/users/alice/push", "x"},
			{"POST", "/v1/topics/news/push", "x"},
			{"POST", "/v1/broadcast", "x"},
			{"POST", "/v1/push", `{"users":["alice"],"data":1}`},
			{"POST", "/v1/push", `{"users":["alice"],"topics":["news"],"data":1}`},
			{"POST", "/v1/batch", `{"users":["alice"],"data":1}`},
			{"GET", "/v1/users/alice", ""},
			{"GET", "/v1/sessions?user=alice", ""},
			{"GET", "/v1/sessions?topic=news", ""},
			{"GET", "/v1/topics/news", ""},
			{"GET", "/v1/topics/news/sessions", ""},
			{"GET", "/v1/subscriptions?topic=news", ""},
			{"PUT", "/v1/topics/news/users/alice", ""},
			{"PUT", "/v1/topics/news/users/bob", ""},
			{"DELETE", "/v1/topics/news/users/alice", ""},
			{"DELETE", "/v1/topics/news/users/bob", ""},
			{"DELETE", "/v1/users/alice", ""},
			{"DELETE", "/v1/users/bob", ""}, // may have a session on a node that did not answer
		} {
			got := s.call(test.method, test.path, test.body)
			switch {
			case c.want != "":
				if got.status != 200 || !strings.Contains(got.body, c.want) {
					t.Errorf("%s %s: %v, want %s", test.method, test.path, got, c.want)
				}
			case strings.Contains(got.body, `"missing`) || strings.Contains(got.body, `"complete":false`):
				t.Errorf("%s %s: %v, but every node has answered", test.method, test.path, got)
			}
		}
	}
}
