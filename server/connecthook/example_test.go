package connecthook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/gobwas/ws"

	"fanfare/server"
	"fanfare/server/connecthook"
	"fanfare/server/internal/hooktest"
)

// A backend that knows its users by a cookie decides who connects.
func Example() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"user":"alice","topics":["news"]}`)
	}))
	defer backend.Close()
	hook, err := connecthook.New(connecthook.Config{
		URL:     backend.URL,
		Secrets: [][]byte{[]byte("a-secret-that-the-backend-knows")},
		Cookies: []string{"session"},
	})
	if err != nil {
		panic(err)
	}
	defer hook.Close()
	endpoint := server.PushEndpoint("/ws")
	endpoint.Identifier, endpoint.NonBlocking, endpoint.Insecure = hook.Identify, false, false
	srv, stop := hooktest.Start(endpoint) // server.New, Start and Shutdown
	defer stop()
	c, _, _, err := ws.Dial(context.Background(), "ws://"+srv.Addr().String()+"/ws")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Println(srv.Sessions(context.Background(), "alice").Sessions[0].Topics)
	// Output: [news]
}
