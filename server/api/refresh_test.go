package api

import (
	"strings"
	"testing"

	"fanfare/server"
)

// TestRefreshDocument: what is wrong with a document is an answer that names it, and
// changes nothing.
func TestRefreshDocument(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	s.connect("/ws?user=alice")
	for _, tt := range []struct{ body, want string }{
		{`{}`, "changes nothing"},
		{``, "not one JSON object"},
		{`[]`, "not one JSON object"},
		{`{"expire":0}`, "unknown member"},
		{`{"subscribe":null}`, "is null"},
		{`{"subscribe":"news"}`, "wrong type"},
		{`{"subscribe":[""]}`, "subscribe"},
		{`{"expires":-1}`, "want seconds since 1970"},
		{`{"expires":1e15}`, "want seconds since 1970"},
		{`{"expires":"tomorrow"}`, "wrong type"},
		{`{"limits":{"mesages":1}}`, "unknown member"},
		{`{"limits":{"messages":0}}`, "limits"},
		{`{"expires":0,"expires":1}`, "more than once"},
	} {
		got := s.call("POST", "/v1/users/alice/refresh", tt.body)
		if got.status != 400 || !strings.Contains(got.body, "bad_document") || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: %d %s, want %q", tt.body, got.status, got.body, tt.want)
		}
	}
	if got := s.call("POST", "/v1/users/nobody/refresh", `{"expires":0}`); got.status != 404 {
		t.Errorf("for a user without a session: %d %s", got.status, got.body)
	}
	for _, path := range []string{"/v1/users/alice/refresh", "/v1/refresh?user=alice"} {
		if got := s.call("POST", path, `{"subscribe":["news"],"limits":{"topics":1}}`); got.status != 200 || got.body != "{\"sessions\":1}\n" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if n := s.api.figures().Refreshes; n != 2 {
		t.Errorf("%d refreshes are counted", n)
	}
}
