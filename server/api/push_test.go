package api

import (
	"net/http"
	"testing"

	"fanfare/server"
)

// TestAPIPush delivers bodies verbatim, as the kind of message that they are.
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
		{"user, JSON that is no UTF-8", "/v1/users/bob/push", "application/json", invalid, server.Binary, []*wsClient{bob}},
		{"user, text that is no UTF-8", "/v1/users/bob/push", "text/plain", invalid, server.Binary, []*wsClient{bob}},
		{"user, binary", "/v1/users/bob/push", "application/octet-stream", "plain", server.Binary, []*wsClient{bob}},
		{"user, form", "/v1/users/bob/push", "application/x-www-form-urlencoded", "a=b", server.Binary, []*wsClient{bob}},
		{"user, multipart", "/v1/users/bob/push", "multipart/form-data; boundary=x", "--x\r\n\r\n\r\n--x--\r\n", server.Binary, []*wsClient{bob}},
		{"user, no type", "/v1/users/bob/push", "", "a", server.Binary, []*wsClient{bob}},
		{"user, no text media type", "/v1/users/bob/push", "textual/plain", "a", server.Binary, []*wsClient{bob}},
		{"user, empty", "/v1/users/bob/push", "text/plain", "", server.Text, []*wsClient{bob}},
		{"topic", "/v1/topics/news/push", "text/plain", "to a topic", server.Text, []*wsClient{alice, bob}},
		{"everybody", "/v1/broadcast", "text/plain", "to all", server.Text, []*wsClient{alice, phone, bob}},
		{"a user who is not here", "/v1/users/carol/push", "text/plain", "x", server.Text, nil},
		{"a topic that nobody follows", "/v1/topics/none/push", "text/plain", "x", server.Text, nil},
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
			c.expect(server.Binary, "x")
			if got := s.call("DELETE", "/v1/users/"+tt.path, ""); got.status != 200 {
				t.Errorf("got %v", got)
			}
		})
	}
}
