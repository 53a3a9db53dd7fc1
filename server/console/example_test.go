package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"fanfare/server"
	"fanfare/server/console"
)

// The page is the fallback of a server. It may have a path beside other pages.
func ExamplePage() {
	endpoints := []server.Endpoint{server.PushEndpoint("/ws")}
	page := &console.Page{Path: "/console", Endpoints: endpoints}
	cfg := server.Config{Listen: "127.0.0.1:8080", Endpoints: endpoints, Fallback: page}
	fmt.Println(cfg.Validate())

	for _, path := range []string{"/console", "/"} {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(w.Code, w.Header().Get("Content-Type"))
	}
	// Output:
	// <nil>
	// 200 text/html; charset=utf-8
	// 404 text/plain; charset=utf-8
}
