package connecthook_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/gobwas/ws"

	"fanfare/server"
	"fanfare/server/connecthook"
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
	srv, err := server.New(server.Config{
		Listen:    "127.0.0.1:0",
		Endpoints: []server.Endpoint{endpoint},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(context.Background())
	if err := srv.Start(); err != nil {
		panic(err)
	}
	c, _, _, err := ws.Dial(context.Background(), "ws://"+srv.Addr().String()+"/ws")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Println(srv.Sessions(context.Background(), "alice").Sessions[0].Topics)
	// Output: [news]
}
