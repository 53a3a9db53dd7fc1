package messagehook_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
	"fanfare/server/messagehook"
)

// A backend answers what clients send.
func Example() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"text":"ping"`) { // see Message for the rest
			io.WriteString(w, "pong")
		}
	}))
	defer backend.Close()
	hook, err := messagehook.New(messagehook.Config{
		URL:     backend.URL,
		Secrets: [][]byte{[]byte("a-secret-that-the-backend-knows")},
	})
	if err != nil {
		panic(err)
	}
	defer hook.Close()
	endpoint := server.PushEndpoint("/ws")
	endpoint.Respond = hook.Respond
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
	c, _, _, err := ws.Dial(context.Background(), "ws://"+srv.Addr().String()+"/ws?user=alice")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	if err := wsutil.WriteClientText(c, []byte("ping")); err != nil {
		panic(err)
	}
	answer, err := wsutil.ReadServerText(c)
	fmt.Println(string(answer), err)
	// Output: pong <nil>
}
