package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

func (s *apiServer) into(v any, method, path, body string) {
	s.t.Helper()
	if got := s.call(method, path, body); got.status != 200 || json.Unmarshal([]byte(got.body), v) != nil {
		s.t.Fatalf("%s %s: %s", method, path, got)
	}
}

// TestOperate lists and closes sessions.
func TestOperate(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{Node: "one"}, nil)
	clients := map[string]*wsClient{}
	for _, user := range []string{"a", "b/c", "bb", "d"} {
		clients[user] = s.connect("/ws?topic=news&topic=of+" + url.QueryEscape(user) + "&user=" + url.QueryEscape(user))
	}
	second := s.connect("/ws?user=a&label=old=yes")
	id := s.Sessions(t.Context(), "bb").Sessions[0].ID
	running := s.paced("POST", "/v1/broadcast?over=1h", "x")
	cursorOf := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

	for _, tt := range []struct {
		method, target, body string
		status               int
		want                 string // a regular expression
	}{
		{"GET", "/v1/users", "", 200, `^{"complete":true,"users":\[{"user":"a","sessions":2},{"user":"b/c","sessions":1},{"user":"bb","sessions":1},{"user":"d","sessions":1}\]}\n$`},
		{"GET", "/v1/users?prefix=b&limit=1", "", 200, `"users":\[{"user":"b/c","sessions":1}\],"next":"` + cursorOf("ub/c") + `"}`},
		{"GET", "/v1/users?prefix=b&limit=1&after=" + cursorOf("ub/c"), "", 200, `"users":\[{"user":"bb","sessions":1}\]}\n$`},
		{"GET", "/v1/users?prefix=x", "", 200, `"users":\[\]}`},
		{"GET", "/v1/users?prefix=", "", 400, `bad_query.*prefix is empty`},
		{"GET", "/v1/users?prefix=%ff", "", 400, `bad_query.*UTF-8`},
		{"GET", "/v1/users?limit=10001", "", 400, `bad_query.*want 1 to 10000`},
		{"GET", "/v1/users?after=a", "", 400, `bad_query.*after is \\"a\\": want next`},
		{"GET", "/v1/users?after=" + cursorOf("u"), "", 400, `bad_query.*want next`},
		{"GET", "/v1/users?after=" + cursorOf("tnews"), "", 400, `bad_query.*of the same list`},
		{"GET", "/v1/users?after=" + cursorOf("ub")[:2] + "=", "", 400, `bad_query`},
		{"GET", "/v1/users?topic=news&prefix=a", "", 400, `bad_query.*prefix does not apply`},
		{"GET", "/v1/users?topic=news&limit=1", "", 200, `"next":"a"`},
		{"GET", "/v1/topics?limit=2", "", 200, `^{"complete":true,"topics":\[{"topic":"news","subscribers":4},{"topic":"of a","subscribers":1}\],"next":"` + cursorOf("tof a") + `"}`},
		{"GET", "/v1/topics?prefix=of+d", "", 200, `"topics":\[{"topic":"of d","subscribers":1}\]}`},
		{"GET", "/v1/topics?after=" + cursorOf("ua"), "", 400, `bad_query`},
		{"GET", "/v1/users/a/sessions?topic=news", "", 200, `^{"user":"a","complete":true,"sessions":\[{"id":"[0-9]+","user":"a",[^]]*\],[^]]*"dialect":"plain"}\]}`},
		{"GET", "/v1/users/b%2Fc/sessions?dialect=fanfare.v1", "", 200, `"sessions":\[\]}`},
		{"GET", "/v1/users/a/sessions?node=one&limit=1", "", 200, `"sessions":\[{"id":.*\],"next":"`},
		{"GET", "/v1/users/a/sessions?node=two", "", 200, `"sessions":\[\]}`},
		{"GET", "/v1/users/a/sessions?node=", "", 400, `bad_query.*node is empty`},
		{"GET", "/v1/users/a/sessions?topic=", "", 400, `bad_name`},
		{"GET", "/v1/users/a/sessions?after=x", "", 400, `bad_query`},
		{"GET", "/v1/sessions?user=b/c&limit=9&topic=news", "", 200, `^{"user":"b/c","complete":true,"sessions":\[{"id".*"dialect":"plain"}\]}`},
		{"GET", "/v1/sessions?topic=news&limit=9", "", 400, `bad_query.*user is missing`},
		{"GET", "/v1/sessions?user=a&dialect=plain", "", 400, `bad_query.*dialect is for pages of a user's sessions: say limit`},
		{"DELETE", "/v1/sessions/x", "", 400, `bad_id`},
		{"DELETE", "/v1/sessions/999999", "", 404, `not_found.*no open session`},
		{"DELETE", "/v1/sessions/b%3A1%2F7", "", 404, `not_found`},
		{"DELETE", "/v1/sessions/" + id + "?code=1", "", 400, `bad_code`},
		{"DELETE", "/v1/sessions/" + id + "?code=4001&reason=bye", "", 200, `^{"closed":1}\n$`},
		{"DELETE", "/v1/sessions?id=999999", "", 404, `not_found`},
		{"DELETE", "/v1/sessions?id=1&user=a", "", 400, `bad_query.*user and id`},
		{"DELETE", "/v1/sessions", "", 400, `bad_query.*user and id`},
		{"POST", "/v1/close", "", 400, `bad_json.*empty`},
		{"POST", "/v1/close", `{"all":true,"code":1012,"rate":1,"speed":1}`, 400, `bad_json.*unknown field \\"speed\\"; want all, users`},
		{"POST", "/v1/close", `{"all":"yes"}`, 400, `bad_json.*all cannot be a string`},
		{"POST", "/v1/close", `{"all":true,"all":true}`, 400, `bad_json`},
		{"POST", "/v1/close", `{"all":true,"rate":1}`, 400, `bad_code.*code is missing`},
		{"POST", "/v1/close", `{"all":true,"rate":1,"code":1005}`, 400, `bad_code.*1005`},
		{"POST", "/v1/close", `{"all":true,"rate":1,"code":1000,"reason":"` + strings.Repeat("x", 124) + `"}`, 400, `bad_reason`},
		{"POST", "/v1/close", `{"code":1012,"rate":1}`, 400, `bad_document.*no sessions are named`},
		{"POST", "/v1/close", `{"code":1012,"where":"has old","rate":1}`, 400, `bad_document.*no sessions are named`},
		{"POST", "/v1/close", `{"code":1012,"all":true}`, 400, `bad_document.*want either a time`},
		{"POST", "/v1/close", `{"code":1012,"all":true,"rate":1,"over":"1s"}`, 400, `bad_document.*want either a time`},
		{"POST", "/v1/close", `{"code":1012,"all":true,"over":"2h"}`, 400, `bad_document.*over is`},
		{"POST", "/v1/close", `{"code":1012,"all":true,"rate":0}`, 400, `bad_document.*rate is 0`},
		{"POST", "/v1/close", `{"code":1012,"all":true,"topic":"news","rate":1}`, 400, `bad_document.*exclude each other`},
		{"POST", "/v1/close", `{"code":1012,"topic":"","rate":1}`, 400, `bad_document.*topic is empty`},
		{"POST", "/v1/close", `{"code":1012,"users":["a",null],"rate":1}`, 400, `bad_name.*users\[1\]`},
		{"POST", "/v1/close", `{"code":1012,"users":["a"` + strings.Repeat(`,"a"`, server.MaxCloseUsers) + `],"rate":1}`, 400, `bad_document.*101 users`},
		{"POST", "/v1/close", `{"code":1012,"all":true,"where":"has","rate":1}`, 400, `bad_where`},
		{"POST", "/v1/close", `{"code":1012,"node":"two","rate":1}`, 404, `not_found.*no node has this name`},
		{"POST", "/v1/close", strings.Repeat(" ", maxClose+1), 413, `too_big`},
		{"GET", "/v1/close/x", "", 404, `not_found`},
		{"GET", "/v1/close/" + running.ID, "", 404, `not_found`},
		{"DELETE", "/v1/close/0000000000000cafecafe", "", 404, `not_found`},
		{"GET", "/v1/close", "", 200, `^{"complete":true,"closes":\[\]}\n$`},
	} {
		got := s.call(tt.method, tt.target, tt.body)
		if got.status != tt.status || !regexp.MustCompile(`(?s)`+tt.want).MatchString(got.body) {
			t.Errorf("%s %.80s %.80s: %d %.300s", tt.method, tt.target, tt.body, got.status, got.body)
		}
	}
	clients["bb"].expectClose(4001, "bye")

	var c struct {
		ID, State, Node string
		Closed, Of      int
	}
	s.into(&c, "POST", "/v1/close", `{"users":["a","d"],"where":"has old","code":4002,"over":"100ms"}`)
	if c.Of != 1 || c.State != "running" {
		t.Errorf("%+v", c)
	}
	second.expectClose(4002, "")
	first := c.ID
	for deadline := time.Now().Add(patience); c.State != "done" || c.Closed != 1; s.into(&c, "GET", "/v1/close/"+first, "") {
		if time.Sleep(time.Millisecond); time.Now().After(deadline) {
			t.Fatalf("got %+v", c)
		}
	}
	s.into(&c, "POST", "/v1/close", `{"node":"one","code":1012,"over":"3600"}`)
	if c.Of != 3 || c.Node != "" {
		t.Errorf("%+v", c)
	}
	s.into(&c, "DELETE", "/v1/close/"+c.ID, "")
	if c.State != "canceled" || c.Closed != 0 {
		t.Errorf("%+v", c)
	}
	var list struct{ Closes []struct{ ID string } }
	s.into(&list, "GET", "/v1/close", "")
	if len(list.Closes) != 2 || list.Closes[0].ID != first {
		t.Errorf("%+v", list)
	}
	for range server.MaxPaced - 1 {
		s.into(&c, "POST", "/v1/close", `{"users":["nobody"],"code":1000,"over":"1h"}`)
	}
	if got := s.call("POST", "/v1/close", `{"all":true,"code":1000,"rate":1}`); got.status != 429 || got.errorCode() != "too_many_broadcasts" {
		t.Errorf("one too many: %s", got)
	}
}

// TestOperateCursors pages through everything, one at a time.
func TestOperateCursors(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	var want []string
	for i := range 5 {
		s.connect(fmt.Sprintf("/ws?user=u%d&topic=t%d", i, i))
		s.connect("/ws?user=u0")
		want = append(want, fmt.Sprint(i))
	}
	for list, field := range map[string]string{"/v1/users": "user", "/v1/topics": "topic", "/v1/users/u0/sessions": "id", "/v1/sessions?user=u0": "id"} {
		var got []string
		next, question := "", "?"
		if strings.Contains(list, "?") {
			question = "&"
		}
		for pages := 0; pages == 0 || next != "" && pages < 9; pages++ {
			var page map[string]any
			target := list + question + "limit=1"
			if next != "" {
				target += "&after=" + next
			}
			s.into(&page, "GET", target, "")
			next, _ = page["next"].(string)
			for _, member := range page {
				if all, ok := member.([]any); ok {
					for _, one := range all {
						got = append(got, one.(map[string]any)[field].(string))
					}
				}
			}
		}
		if field != "id" && strings.Join(got, "") != field[:1]+strings.Join(want, field[:1]) || field == "id" && (len(got) != 6 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 6) {
			t.Errorf("%s: %q", list, got)
		}
	}
}

// TestOperateMissing: each answer names nodes that did not answer, and what is not found may be
// there.
func TestOperateMissing(t *testing.T) {
	cluster := new(fakeCluster)
	s := newAPIServer(t, server.Config{Cluster: cluster}, Config{}, nil)
	s.connect("/ws?user=a")
	cluster.missing = server.Coverage{Missing: 1, MissingNodes: []string{"b:1"}}
	for _, tt := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/users", "", 200, `{"complete":false,"missing":["b:1"],"users":[{"user":"a","sessions":1}]}`},
		{"GET", "/v1/topics", "", 200, `{"complete":false,"missing":["b:1"],"topics":[]}`},
		{"GET", "/v1/users/b/sessions", "", 200, `{"user":"b","complete":false,"missing":["b:1"],"sessions":[]}`},
		{"GET", "/v1/close", "", 200, `{"complete":false,"missing":["b:1"],"closes":[]}`},
		{"DELETE", "/v1/sessions/b%3A1%2F7", "", 503, `"unavailable"`},
		{"GET", "/v1/close/0000000000000cafecafe", "", 503, `"unavailable"`},
		{"POST", "/v1/close", `{"node":"b:1","code":1012,"rate":1}`, 503, `"unavailable"`},
		{"POST", "/v1/close", `{"node":"node-1","code":1012,"over":"1h"}`, 200, `"missing":["b:1"]`},
	} {
		if got := s.call(tt.method, tt.target, tt.body); got.status != tt.status || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s %s: %s", tt.method, tt.target, got)
		}
	}
}
