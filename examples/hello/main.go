// Hello greets every client when it comes, and every two seconds from then on.
// The greetings come from the server's timer wheel: ten thousand clients are ten
// thousand entries of it, and no goroutine.
//
//	go run ./hello
//	npx wscat -c ws://127.0.0.1:8080/hello
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fanfare/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv, err := newServer("127.0.0.1:8080", 2*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("listening at ws://127.0.0.1:8080/hello")
	if err := srv.Run(ctx, 10*time.Second); err != nil {
		log.Fatal(err)
	}
}

func newServer(addr string, every time.Duration) (*server.Server, error) {
	greet := func(s *server.Session) {
		n, _ := s.Data().(int)
		s.SetData(n + 1)
		s.Send(server.Text, fmt.Appendf(nil, "hello %d", n))
		s.SetTimer(every) // calls OnTimer once; stops by itself when the session ends
	}
	return server.New(server.Config{
		Listen:    addr,
		Endpoints: []server.Endpoint{{Path: "/hello", Hooks: server.Hooks{OnOpen: greet, OnTimer: greet}}},
	})
}
