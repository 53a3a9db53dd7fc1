// Command echo sends every message back to the client that sent it.
//
//	go run ./echo
//	npx wscat -c ws://127.0.0.1:8080/echo
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fanfare/server"
)

func main() {
	// Ctrl-C closes the sessions with 1001; connections that are left after 10 s are closed
	// at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv, err := newServer("127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	log.Print("listening at ws://127.0.0.1:8080/echo")
	if err := srv.Run(ctx, 10*time.Second); err != nil {
		log.Fatal(err)
	}
}

func newServer(addr string) (*server.Server, error) {
	return server.New(server.Config{
		Listen:    addr,
		Endpoints: []server.Endpoint{{Path: "/echo", Hooks: server.Hooks{OnMessage: echo}}},
	})
}

// echo is called for each message, on one of a few shared goroutines. The payload is
// borrowed until it returns; Send keeps nothing of it.
func echo(s *server.Session, op server.Op, payload []byte) {
	s.Send(op, payload) // an error means that the client is gone, or reads too slowly
}
