package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server"
)

func TestExclude(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	clients := map[string]*wsClient{}
	ids := map[string]string{}
	for _, user := range []string{"a", "b", "c"} {
		clients[user] = s.connect("/ws?user=" + user + "&topic=t&label=name=" + user)
		ids[user] = s.Sessions(t.Context(), user).Sessions[0].ID
	}
	many := "?exclude_user=x" + strings.Repeat("&exclude_user=x", server.MaxExcluded)
	for _, test := range []struct {
		path, body string
		want       string
		receivers  string // users
	}{
		{"/v1/broadcast?exclude_user=a", "x", receivers(2), "bc"},
		{"/v1/broadcast?exclude_user=a&exclude_user=b", "x", receivers(1), "c"},
		{"/v1/broadcast?exclude_user=a&exclude_session=" + ids["b"], "x", receivers(1), "c"},
		{"/v1/topics/t/push?exclude_session=" + ids["a"] + "&exclude_session=" + ids["b"], "x", receivers(1), "c"},
		{"/v1/users/a/push?exclude_session=" + ids["a"], "x", receivers(0), ""},
		{"/v1/users/a/push?exclude_session=999999", "x", receivers(1), "a"},
		{"/v1/push", `{"broadcast":true,"exclude_users":["a","b"],"text":"x"}`, receivers(1), "c"},
		{"/v1/push", `{"users":["a"],"topics":["t"],"exclude_sessions":["` + ids["c"] + `"],"text":"x"}`, receivers(2), "ab"},
		{"/v1/batch", `{"topics":["t"],"exclude_users":["c"],"text":"x"}` + "\n" + `{"topics":["t"],"text":"x"}`, receivers(2) + receivers(3), "aabbc"},
		{"/v1/broadcast?where=name+in+('a','b')", "x", receivers(2), "ab"},
		{"/v1/topics/t/push?where=name+!%3D+%22a%22&exclude_user=b", "x", receivers(1), "c"},
		{"/v1/users/a/push?where=!has+name", "x", receivers(0), ""},
		{"/v1/push", `{"broadcast":true,"where":"name == 'b' || name == \"c\"","text":"x"}`, receivers(2), "bc"},
		{"/v1/batch", `{"topics":["t"],"where":"has other","text":"x"}` + "\n" + `{"topics":["t"],"where":"has name","text":"x"}`, receivers(0) + receivers(3), "abc"},
		{"/v1/broadcast?conflate=k", "x", receivers(3), "abc"},
		{"/v1/users/a/push?conflate=k&exclude_user=b", "x", receivers(1), "a"},
		{"/v1/topics/t/push?conflate=k", "x", receivers(3), "abc"},
		{"/v1/push", `{"users":["a"],"conflate":"k","text":"x"}`, receivers(1), "a"},
		{"/v1/batch", `{"topics":["t"],"conflate":"k","text":"x"}` + "\n" + `{"users":["a"],"text":"x","conflate":null}`, receivers(3) + receivers(1), "aabc"},
		{"/v1/broadcast?conflate=r&rate=1/h", "x", receivers(3), "abc"},
		{"/v1/users/a/push?conflate=r&rate=1/h", "replaced", receivers(1), ""},
		{"/v1/topics/t/push?conflate=r&rate=2%2Fm&exclude_user=a", "waits", receivers(2), ""},
		{"/v1/push", `{"users":["a"],"conflate":"r","rate":"600/m","text":"x"}`, receivers(1), "a"},
		{"/v1/batch", `{"topics":["t"],"conflate":"r","rate":"1/h","text":"waits"}` + "\n" + `{"users":["a"],"text":"x","rate":null}`, receivers(3) + receivers(1), "a"},
		{"/v1/broadcast?rate=2/s", "x", "bad_query rate is for messages with conflate", ""},
		{"/v1/broadcast?conflate=k&rate=", "x", `bad_query rate is "": want 1/h to 10/s, such as 2/s or 12/m`, ""},
		{"/v1/broadcast?conflate=k&rate=1000/s", "x", `bad_query rate is "1000/s": want 1/h to 10/s`, ""},
		{"/v1/users/a/push?conflate=k&rate=0/s", "x", `bad_query rate is "0/s": want 1/h to 10/s`, ""},
		{"/v1/topics/t/push?conflate=k&rate=1/s&rate=2/s", "x", `bad_query parameter "rate" comes twice`, ""},
		{"/v1/push", `{"users":["a"],"conflate":"k","rate":"fast","text":"x"}`, `bad_document rate is "fast": want 1/h to 10/s`, ""},
		{"/v1/push", `{"users":["a"],"rate":"2/s","text":"x"}`, "bad_document rate is for messages with conflate", ""},
		{"/v1/push", `{"users":["a"],"conflate":"k","rate":2,"text":"x"}`, "bad_json at byte 37: rate cannot be a number", ""},
		{"/v1/users/a/push?durable=true&rate=2/s", "x", "bad_query rate does not apply to a stored message", ""},
		{"/v1/push", `{"users":["a"],"durable":true,"rate":"2/s","text":"x"}`, "bad_document exclude_users, exclude_sessions, where, conflate, rate and receipt do not", ""},
		{"/v1/broadcast?conflate=", "x", "bad_query conflate is empty", ""},
		{"/v1/broadcast?conflate=%ff", "x", "bad_query conflate: name", ""},
		{"/v1/push", `{"users":["a"],"conflate":"","text":"x"}`, "bad_document conflate is empty", ""},
		{"/v1/users/a/push?durable=true&conflate=k", "x", "bad_query conflate does not apply to a stored message", ""},
		{"/v1/push", `{"users":["a"],"durable":true,"conflate":"k","text":"x"}`, "bad_document exclude_users, exclude_sessions, where, conflate, rate and receipt do not", ""},
		{"/v1/broadcast?where=", "x", "bad_where where: column 1: unexpected end", ""},
		{"/v1/broadcast?where=name+%3D+'a'", "x", "bad_where where: column 6: unexpected =: want ==", ""},
		{"/v1/push", `{"broadcast":true,"where":"name","text":"x"}`, "bad_where where: column 5: unexpected end", ""},
		{"/v1/topics/t/push?where=has+a&where=has+b", "x", `bad_query parameter "where" comes twice`, ""},
		{"/v1/users/a/push?durable=true&where=has+a", "x", "bad_query where does not apply to a stored message", ""},
		{"/v1/broadcast?exclude_user=", "x", "bad_query excluded user: bad name: empty", ""},
		{"/v1/broadcast?exclude_session=x", "x", `bad_query excluded session "x": want an id`, ""},
		{"/v1/broadcast" + many, "x", "bad_query 101 names are excluded: want at most 100 users and 100 sessions", ""},
		{"/v1/broadcast?over=1s&over=1s", "x", `bad_query parameter "over" comes twice`, ""},
		{"/v1/users/a/push?durable=true&exclude_user=a", "x", "bad_query exclude_user does not apply to a stored message", ""},
		{"/v1/push", `{"users":["a"],"durable":true,"exclude_users":["b"],"text":"x"}`, "bad_document exclude_users, exclude_sessions, where, conflate, rate and receipt do not apply", ""},
		{"/v1/push", `{"users":["a"],"exclude_sessions":["x"],"text":"x"}`, `bad_document excluded session "x"`, ""},
	} {
		got := s.call("POST", test.path, test.body)
		if text := strings.TrimSpace(got.body); strings.HasPrefix(test.want, "bad_") {
			code, message, _ := strings.Cut(test.want, " ")
			if got.status != 400 || got.errorCode() != code || !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), message) {
				t.Errorf("%.80s %s: %s, want %s", test.path, test.body, got, test.want)
			}
		} else if got.body != test.want {
			t.Errorf("%.80s %s: %s, want %s", test.path, test.body, got, test.want)
		}
		for _, user := range strings.Split(test.receivers, "") {
			clients[user].expect(ws.OpText, "x")
		}
	}
	for user, c := range clients { // nothing else came
		s.push(user, server.Text, []byte("end"))
		c.expect(ws.OpText, "end")
	}
}

// paced decodes the answer to a request about a paced broadcast.
func (s *apiServer) paced(method, path, body string) (p struct {
	server.PacedBroadcast
	Complete bool
}) {
	s.t.Helper()
	got := s.call(method, path, body)
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != 200 || !p.Complete {
		s.t.Fatalf("%s %s: %s", method, path, got)
	}
	return p
}

func TestPacedBroadcast(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	a := s.connect("/ws?user=a&topic=t")
	s.connect("/ws?user=b")
	fast := s.paced("POST", "/v1/topics/t/push?over=100ms", "x")
	if fast.Of != 1 || fast.Topic != "t" || fast.State != server.PacedRunning {
		t.Errorf("got %+v", fast)
	}
	a.expect(ws.OpText, "x")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if p := s.paced("GET", "/v1/broadcasts/"+fast.ID, ""); p.State == server.PacedDone && p.Receivers == 1 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("got %+v", p)
		}
	}
	first := s.paced("POST", "/v1/broadcast?over=3600&key=flag&exclude_user=b", "x")
	second := s.paced("POST", "/v1/broadcast?over=1h&key=flag", "y")
	if first.Of != 1 || second.Of != 2 || second.Key != "flag" || second.Until.Sub(second.Started) != time.Hour {
		t.Errorf("got %+v and %+v", first, second)
	}
	if p := s.paced("GET", "/v1/broadcasts/"+first.ID, ""); p.State != server.PacedReplaced {
		t.Errorf("got %+v", p)
	}
	for range 2 { // the second one changes nothing
		if p := s.paced("DELETE", "/v1/broadcasts/"+second.ID, ""); p.State != server.PacedCanceled || p.Ended.IsZero() {
			t.Errorf("got %+v", p)
		}
	}
	var list struct {
		Complete   bool
		Broadcasts []server.PacedBroadcast
	}
	json.Unmarshal([]byte(s.call("GET", "/v1/broadcasts", "").body), &list)
	var ids []string
	for _, b := range list.Broadcasts {
		ids = append(ids, b.ID)
	}
	if want := []string{fast.ID, first.ID, second.ID}; !list.Complete || !slices.Equal(ids, want) {
		t.Errorf("listed %+v, want %v", list, want)
	}

	for path, want := range map[string]string{
		"POST /v1/broadcast?over=":                                   "400 bad_query",
		"POST /v1/broadcast?over=99ms":                               "400 bad_query",
		"POST /v1/broadcast?over=1h1s":                               "400 bad_query",
		"POST /v1/broadcast?over=-1s":                                "400 bad_query",
		"POST /v1/broadcast?over=soon":                               "400 bad_query",
		"POST /v1/broadcast?key=x":                                   "400 bad_query",
		"POST /v1/broadcast?over=1s&key=":                            "400 bad_query",
		"POST /v1/broadcast?over=1s&key=" + strings.Repeat("k", 257): "400 bad_query",
		"POST /v1/users/a/push?over=1s":                              "400 bad_query",
		"GET /v1/broadcasts/x":                                       "404 not_found",
		"DELETE /v1/broadcasts/" + strings.Repeat("0", 21):           "404 not_found",
		"POST /v1/broadcasts":                                        "405 method_not_allowed",
	} {
		method, path, _ := strings.Cut(path, " ")
		body := ""
		if method == "POST" {
			body = "x"
		}
		if got := s.call(method, path, body); fmt.Sprint(got.status, " ", got.errorCode()) != want {
			t.Errorf("%s %.60s: %s, want %s", method, path, got, want)
		}
	}
	for range server.MaxPaced {
		s.paced("POST", "/v1/broadcast?over=1h", "x")
	}
	if got := s.call("POST", "/v1/broadcast?over=1h", "x"); got.status != 429 || got.errorCode() != "too_many_broadcasts" {
		t.Errorf("one too many: %s", got)
	}
}
