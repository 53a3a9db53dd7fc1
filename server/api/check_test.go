package api

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/server"
	"fanfare/server/inbox"
)

// TestAPIQuery: no parameter is ignored.
func TestAPIQuery(t *testing.T) {
	s := newAPIServer(t, server.Config{Store: new(troubledStore)}, Config{Pprof: true}, nil)
	alice := s.connect("/ws?user=alice")
	for _, test := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"POST", "/v1/users/alice/push?durabel=true", 400, `unknown parameter \"durabel\"; did you mean \"durable\"? want durable, ttl, id`},
		{"POST", "/v1/users/alice/push?Durable=true", 400, `did you mean \"durable\"?`},
		{"POST", "/v1/users/alice/push?tll=1h", 400, `did you mean \"ttl\"?`},
		{"POST", "/v1/users/alice/push?retain=1", 400, `unknown parameter \"retain\"; want durable, ttl, id`},
		{"POST", "/v1/users/alice/push?durable=false&durable=true", 400, `parameter \"durable\" comes twice`},
		{"POST", "/v1/users/alice/push?durable", 400, "want true or false"},
		{"POST", "/v1/users/alice/push?durable=", 400, "want true or false"},
		{"POST", "/v1/users/alice/push?durable=true&id=", 400, "id is empty"},
		{"POST", "/v1/users/alice/push?durable=true&ttl=", 400, "ttl is empty"},
		{"POST", "/v1/topics/news/push?durabel=true", 400, "did you mean"},
		{"POST", "/v1/broadcast?durable=true", 400, `unknown parameter \"durable\"; want over, key, exclude_user, exclude_session, where`},
		{"POST", "/v1/push?durable=true", 400, "want none here"},
		{"POST", "/v1/batch?durable=true", 400, "want none here"},
		{"DELETE", "/v1/users/alice?resaon=x", 400, `did you mean \"reason\"?`},
		{"DELETE", "/v1/users/alice?code=", 400, "bad_code"},
		{"GET", "/v1/users/alice?x", 400, "unknown parameter"},
		{"GET", "/v1/users/alice/inbox?from=1", 400, "unknown parameter"},
		{"GET", "/v1/users/alice/inbox?after=-1", 400, "want an offset"},
		{"DELETE", "/v1/users/alice/inbox?before=5", 400, "unknown parameter"},
		{"PUT", "/v1/topics/news/users/alice?after=1", 400, "unknown parameter"},
		{"GET", "/healthz?strikt", 400, `did you mean \"strict\"?`},
		{"GET", "/healthz?strict=maybe", 400, "strict is \\\"maybe\\\": want true or false"},
		{"GET", "/healthz?strict=false", 200, "ok"},
		{"GET", "/readyz?strict", 400, "want none here"},
		{"GET", "/metrics?name=x", 400, `did you mean \"name[]\"?`},
		{"GET", "/metrics?name[]=fanfare_sessions&name[]=fanfare_users", 200, "fanfare_users 1"},
		{"GET", "/v1/stats?pretty", 400, "unknown parameter"},
		{"GET", "/debug/pprof/heap?seconds=1", 400, "seconds is for profile and trace"},
		{"GET", "/debug/pprof/profile?second=1", 400, `did you mean \"seconds\"?`},
		{"GET", "/debug/pprof/profile?seconds=0", 400, "want 1 to 300"},
		{"GET", "/debug/pprof/trace?seconds=301", 400, "want 1 to 300"},
		{"GET", "/debug/pprof/trace?gc=1", 400, "not for trace"},
		{"GET", "/debug/pprof/heap?gc=yes", 400, "want 0 to 1"},
		{"GET", "/v1/sessions", 400, "want one of the parameters user and topic"},
		{"GET", "/v1/sessions?user=a&topic=b", 400, "want one of the parameters user and topic"},
		{"DELETE", "/v1/sessions", 400, "want one of the parameters user and id"},
		{"DELETE", "/v1/sessions?topic=a", 400, "unknown parameter"},
		{"DELETE", "/v1/sessions?user=", 400, "bad_name"},
		{"DELETE", "/v1/sessions?user=%ff", 400, "bad_name"},
		{"DELETE", "/v1/inbox", 400, "the parameter user is missing"},
		{"PUT", "/v1/subscriptions?user=a", 400, "the parameter topic is missing"},
	} {
		body := ""
		if test.method == "POST" {
			body = `{"users":["alice"],"data":1}`
		}
		if got := s.call(test.method, test.path, body); got.status != test.status || !strings.Contains(got.body, test.want) {
			t.Errorf("%s %s: got %.300v, want %d %s", test.method, test.path, got, test.status, test.want)
		}
	}
	s.push("alice", server.Text, []byte("nothing else came"))
	alice.expect(server.Text, "nothing else came")
}

// TestAPINamesInQuery: the second form of a path with names is the same request, and takes
// names that proxies change in paths.
func TestAPINamesInQuery(t *testing.T) {
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, nil)
	const name, query = "bob/inbox", "bob%2Finbox"
	bob, other := s.connect("/ws?user="+query), s.connect("/ws?user=bob")
	s.pushStored("bob", "stays")
	s.pushStored(name, "goes")
	other.expect(server.Text, "stays")
	bob.expect(server.Text, "goes")
	for _, test := range []struct{ method, path, want string }{
		{"PUT", "/v1/subscriptions?user=" + query + "&topic=a%2Fb", `{"sessions":1}`},
		{"GET", "/v1/subscriptions?topic=a/b", `{"topic":"a/b","subscribers":1,"complete":true}`},
		{"GET", "/v1/sessions?topic=a/b", `"user":"bob/inbox"`},
		{"GET", "/v1/sessions?user=bob/inbox", `{"user":"bob/inbox","online":true`},
		{"DELETE", "/v1/subscriptions?topic=a%2Fb&user=" + query, `{"sessions":1}`},
		{"GET", "/v1/inbox?after=0&user=" + query, `"text":"goes"`},
		{"DELETE", "/v1/inbox?user=" + query, `{"deleted":1}`},
		{"GET", "/v1/inbox?after=0&user=bob", `"text":"stays"`},
		{"DELETE", "/v1/sessions?code=4001&reason=bye&user=" + query, `{"closed":1}`},
		{"GET", "/v1/sessions?user=bob", `"online":true`},
	} {
		if got := s.call(test.method, test.path, ""); got.status != 200 || !strings.Contains(got.body, test.want) {
			t.Errorf("%s %s: got %v, want %s", test.method, test.path, got, test.want)
		}
	}
	for {
		op, payload := bob.control()
		if op == ws.OpPing { // it follows a stored message
			continue
		}
		if op != ws.OpClose || string(payload) != "\x0f\xa1bye" {
			t.Errorf("got %v %q", op, payload)
		}
		return
	}
}
