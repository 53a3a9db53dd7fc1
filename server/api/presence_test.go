package api

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// seenStore knows when one user was seen.
type seenStore struct{ user string }

func (s seenStore) LastSeen(_ context.Context, users []string) (map[string]time.Time, error) {
	for _, user := range users {
		if user == "away" {
			return nil, errors.New("the store is away")
		}
	}
	return map[string]time.Time{s.user: time.Unix(1e9, 0).UTC()}, nil
}

func TestPresence(t *testing.T) {
	s := newAPIServer(t, server.Config{Version: "1.2"}, Config{Node: "one", LastSeen: seenStore{"bob"}}, nil)
	s.connect("/ws?user=alice&topic=a%2Fb")
	s.connect("/ws?user=alice&topic=a%2Fb")
	s.connect("/ws?user=carol&topic=a%2Fb")
	for _, tt := range []struct {
		method, target, body string
		status               int
		want                 string // a regular expression
	}{
		{"POST", "/v1/presence", `{"users":["bob","alice","dave","alice"]}`, 200,
			`^{"complete":true,"users":\[{"user":"bob","online":false,"sessions":0,"last_seen":"2001-09-09T01:46:40Z"},{"user":"alice","online":true,"sessions":2},{"user":"dave","online":false,"sessions":0},{"user":"alice","online":true,"sessions":2}\]}\n$`},
		{"POST", "/v1/presence", `{"users":["away"]}`, 200, `"online":false,"sessions":0}`},
		{"POST", "/v1/presence", `{"users":[` + strings.Repeat(`"a",`, server.MaxPresence-1) + `"a"]}`, 200, `"user":"a"`},
		{"POST", "/v1/presence", `{"users":[` + strings.Repeat(`"a",`, server.MaxPresence) + `"a"]}`, 400, `bad_document.*10001 users: want at most 10000`},
		{"POST", "/v1/presence", `{"users":["` + strings.Repeat("a", maxPresence) + `"]}`, 413, `too_big`},
		{"POST", "/v1/presence", `{"users":[]}`, 400, `bad_document.*no users`},
		{"POST", "/v1/presence", ``, 400, `bad_json.*empty`},
		{"POST", "/v1/presence", `{"users":["a",null]}`, 400, `bad_name.*users\[1\]`},
		{"POST", "/v1/presence", `{"users":["\u0000"]}`, 400, `bad_name.*users\[0\].*control`},
		{"POST", "/v1/presence", `{"users":["a"],"user":"b"}`, 400, `bad_json.*unknown field`},
		{"POST", "/v1/presence", `{"users":"a"}`, 400, `bad_json.*users cannot be a string`},
		{"GET", "/v1/topics/a%2Fb/users", "", 200, `^{"topic":"a/b","complete":true,"users":\[{"user":"alice","sessions":2},{"user":"carol","sessions":1}\]}\n$`},
		{"GET", "/v1/topics/a%2Fb/users?limit=1", "", 200, `"users":\[{"user":"alice","sessions":2}\],"next":"alice"}`},
		{"GET", "/v1/users?topic=a/b&limit=1&after=alice", "", 200, `"users":\[{"user":"carol","sessions":1}\]}`},
		{"GET", "/v1/users?topic=nothing", "", 200, `"users":\[\]}`},
		{"GET", "/v1/users?topic=a&limit=0", "", 400, `bad_query.*limit is \\"0\\": want 1 to 10000`},
		{"GET", "/v1/users?topic=a&limit=10001", "", 400, `bad_query`},
		{"GET", "/v1/users?topic=a&after=%00", "", 400, `bad_name.*after`},
		{"GET", "/v1/users?topic=a&page=2", "", 400, `unknown parameter`},
		{"GET", "/v1/nodes", "", 200, `^{"complete":true,"nodes":\[{"name":"one","state":"serving","sessions":3,"version":"1.2","since":"20[^"]+Z"}\]}\n$`},
	} {
		got := s.call(tt.method, tt.target, tt.body)
		if got.status != tt.status || !regexp.MustCompile(`(?s)`+tt.want).MatchString(got.body) {
			t.Errorf("%s %s %.60s: %d %.300s", tt.method, tt.target, tt.body, got.status, got.body)
		}
	}
}
