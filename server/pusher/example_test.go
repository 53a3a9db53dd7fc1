package pusher_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
	"fanfare/server/pusher"
)

// Clients of the protocol connect to a server that has the endpoint of an app.
func Example() {
	apps, err := pusher.ParseApps([]byte(`{"apps":[{"id":"1","key":"app-key","secret":"a-secret-of-the-backend"}]}`))
	if err != nil {
		panic(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	channels, err := pusher.New(pusher.Config{Apps: apps, Logger: quiet})
	if err != nil {
		panic(err)
	}
	srv, err := server.New(server.Config{
		Listen:    "127.0.0.1:0",
		Endpoints: []server.Endpoint{channels.Endpoint()},
		Fallback:  channels.Handler(nil),
		Logger:    quiet,
	})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(context.Background())
	if err := channels.Serve(srv); err != nil {
		panic(err)
	}
	if err := srv.Start(); err != nil {
		panic(err)
	}
	c, early, _, err := ws.Dial(context.Background(), "ws://"+srv.Addr().String()+"/app/app-key?protocol=7")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	var in io.ReadWriter = c
	if early != nil { // what has come with the answer to the handshake
		in = struct {
			io.Reader
			io.Writer
		}{io.MultiReader(early, c), c}
	}
	event, err := wsutil.ReadServerText(in)
	fmt.Printf("%.40s… %v\n", event, err)
	// Output: {"event":"pusher:connection_established"… <nil>
}
