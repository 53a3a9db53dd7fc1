// Command hello greets every client when it connects, and every two seconds after that. The
// server's timer wheel calls the hook, so ten thousand clients need no goroutines.
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
		s.SetTimer(every) // calls OnTimer once, unless the session ends before
	}
	return server.New(server.Config{
		Listen:    addr,
		Endpoints: []server.Endpoint{{Path: "/hello", Hooks: server.Hooks{OnOpen: greet, OnTimer: greet}}},
	})
}
