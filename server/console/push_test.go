package console

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fanfare/server"
)

// TestPush sends requests to a page that may push, and to one that may not.
func TestPush(t *testing.T) {
	srv := start(t, server.Config{MaxPayload: 1024}, Page{})
	pushes := &Page{Path: "/x/", Server: srv, Authorizes: func(key string) bool { return key == testKey }}
	for _, test := range []struct {
		name, method, target, authorization, body string
		status                                    int
		want                                      string
	}{
		{"a user", "POST", "/x/?user=alice", "Bearer " + testKey, "hi", 200, "sent to 0 sessions"},
		{"a topic", "POST", "/x/?topic=a%2Fb", "bearer  " + testKey, "hi", 200, "sent to 0 sessions"},
		{"all", "POST", "/x/?all=", "Bearer " + testKey, "", 200, "sent to 0 sessions"},
		{"all, as a switch", "POST", "/x/?all", "Bearer " + testKey, "hi", 200, "sent to 0 sessions"},
		{"no key", "POST", "/x/?user=alice", "", "hi", 401, "no API key"},
		{"no scheme", "POST", "/x/?user=alice", testKey, "hi", 401, "no API key"},
		{"another scheme", "POST", "/x/?user=alice", "Basic " + testKey, "hi", 401, "no API key"},
		{"wrong key", "POST", "/x/?user=alice", "Bearer " + testKey + "x", "hi", 401, "no API key"},
		{"no receivers", "POST", "/x/", "Bearer " + testKey, "hi", 400, "want one of"},
		{"unknown parameter", "POST", "/x/?usr=alice", "Bearer " + testKey, "hi", 400, "want one of"},
		{"another parameter", "POST", "/x/?user=alice&ttl=1h", "Bearer " + testKey, "hi", 400, "want one of"},
		{"two users", "POST", "/x/?user=alice&user=bob", "Bearer " + testKey, "hi", 400, "want one of"},
		{"all with a value", "POST", "/x/?all=news", "Bearer " + testKey, "hi", 400, "want one of"},
		{"empty name", "POST", "/x/?user=", "Bearer " + testKey, "hi", 400, "user: "},
		{"bad name", "POST", "/x/?topic=%00", "Bearer " + testKey, "hi", 400, "topic: "},
		{"bad encoding", "POST", "/x/?user=%zz", "Bearer " + testKey, "hi", 400, "malformed percent-encoding"},
		{"longest", "POST", "/x/?user=alice", "Bearer " + testKey, strings.Repeat("x", 1024), 200, "sent"},
		{"too long", "POST", "/x/?user=alice", "Bearer " + testKey, strings.Repeat("x", 1025), 413, "longer than 1024 bytes"},
		{"not UTF-8", "POST", "/x/?user=alice", "Bearer " + testKey, "\xff", 400, "not UTF-8"},
		{"another path", "POST", "/?user=alice", "Bearer " + testKey, "hi", 404, "nothing is at this path"},
		{"another method", "PUT", "/x/?user=alice", "Bearer " + testKey, "hi", 405, "GET, HEAD, POST"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.target, strings.NewReader(test.body))
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			w := httptest.NewRecorder()
			pushes.ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, test.status, test.want)
			}
			if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate is %q", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
	for name, p := range map[string]*Page{"no server": {Authorizes: pushes.Authorizes}, "no key": {Server: srv}} {
		if resp, body := serve(p, http.MethodPost, "/?all"); resp.StatusCode != 405 || !strings.Contains(body, "GET, HEAD\n") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		if _, body := serve(p, http.MethodGet, "/"); !strings.Contains(body, `id="push" hidden>`) {
			t.Errorf("%s: the page shows the form", name)
		}
	}
	if _, body := serve(pushes, http.MethodGet, "/x/"); !strings.Contains(body, `id="push" >`) {
		t.Error("the page does not show the form")
	}
}
