package console

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fanfare/server"
)

func serve(p *Page, method, path string) (*http.Response, string) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result(), w.Body.String()
}

func TestPolicy(t *testing.T) {
	endpoints := []server.Endpoint{server.PushEndpoint(`/a"><b>&`), server.EchoEndpoint("/echo")}
	endpoints[1].Dialects = []server.Dialect{server.Plain()} // as New does
	resp, body := serve(&Page{Endpoints: endpoints}, "GET", "/")
	policy := resp.Header.Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
		"script-src " + sourceHash([]byte(body), "script"), "style-src " + sourceHash([]byte(body), "style"),
	} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy lacks %s:\n%s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("unsafe policy: %s", policy)
	}
	for _, part := range []string{
		`<option data-identity="query" data-protocols=" fanfare.v1">/a&#34;&gt;&lt;b&gt;&amp;</option>`,
		`<option data-identity="none" data-protocols="">/echo</option>`, `data-api="http://API" data-key=""`,
	} {
		if !strings.Contains(body, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	for _, outside := range []string{"src=\"", "href=\"http", "@import", "url("} {
		if strings.Contains(body, outside) {
			t.Errorf("the page refers to something outside: %s", outside)
		}
	}
}

// The page says where the API is if that is of use to its reader, and whether it wants a
// key.
func TestAPIAddress(t *testing.T) {
	for _, test := range []struct {
		api  net.Addr
		key  bool
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}, false, `data-api="http://127.0.0.1:8081" data-key=""`},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}, true, `data-api="http://127.0.0.1:8081" data-key="required"`},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8081}, true, `data-api="http://API" data-key="required"`},
		{&net.UnixAddr{Net: "unix", Name: "/run/api"}, false, `data-api="http://API" data-key=""`},
		{nil, false, `data-api="http://API" data-key=""`},
	} {
		if _, body := serve(&Page{API: test.api, APIKey: test.key}, "GET", "/"); !strings.Contains(body, test.want) {
			t.Errorf("%v: the page lacks %s", test.api, test.want)
		}
	}
	secured := &Page{API: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}, APITLS: true}
	if _, body := serve(secured, "GET", "/"); !strings.Contains(body, `data-api="https://127.0.0.1:8081"`) {
		t.Error("the page calls an API with TLS without it")
	}
}

func TestPagePaths(t *testing.T) {
	for _, test := range []struct {
		page, method, path string
		status             int
	}{
		{"", "GET", "/", 200}, {"", "HEAD", "/", 200}, {"", "POST", "/", 405}, {"", "GET", "/x", 404}, {"", "GET", "/favicon.ico", 204},
		{"/push/", "GET", "/push/", 200}, {"/push/", "GET", "/", 404}, {"/push/", "GET", "/push", 404}, {"/push/", "DELETE", "/push/", 405},
	} {
		resp, body := serve(&Page{Path: test.page}, test.method, test.path)
		if resp.StatusCode != test.status || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%+v: %d %v", test, resp.StatusCode, resp.Header)
		}
		if want := "the test console is at " + test.page; test.status == 404 && !strings.Contains(body, want) {
			t.Errorf("%+v: %s", test, body)
		}
	}
}
