package sse_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"strings"

	"fanfare/server"
	"fanfare/server/sse"
)

// An endpoint for server-sent events beside one for WebSocket.
func ExamplePushEndpoint() {
	srv, err := server.New(server.Config{
		Listen:    "127.0.0.1:0",
		Endpoints: []server.Endpoint{server.PushEndpoint("/ws"), sse.PushEndpoint("/sse")},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	if err := srv.Start(); err != nil {
		log.Fatal(err)
	}
	resp, err := http.Get("http://" + srv.Addr().String() + "/sse?user=alice")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	srv.Push(context.Background(), "alice", server.NewMessage(server.Text, []byte("hello")))
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			fmt.Println(data)
			break
		}
	}
	// Output: hello
}
