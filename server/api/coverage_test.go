package api

import (
	"fmt"
	"strings"
	"testing"

	"fanfare/server"
)

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
