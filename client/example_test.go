package client_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"fanfare/client"
	"fanfare/server"
	"fanfare/server/inbox"
)

// start starts a server that stores messages, and topics whose names begin with scores.
func start() (srv *server.Server, stop func(), err error) {
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		return nil, nil, err
	}
	silent := slog.New(slog.DiscardHandler)
	st, err := inbox.Open(context.Background(), inbox.Config{Dir: dir, Logger: silent})
	if err != nil {
		return nil, nil, err
	}
	srv, err = server.New(server.Config{Listen: "127.0.0.1:0", Store: st, DurableTopics: []string{"scores.*"}, Logger: silent})
	if err != nil {
		return nil, nil, err
	}
	if err := srv.Start(); err != nil {
		return nil, nil, err
	}
	return srv, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		st.Close()
		os.RemoveAll(dir)
	}, nil
}

// A client receives a message that was stored while it was away, and acknowledges it.
func Example() {
	srv, stop, err := start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	srv.PushStored(ctx, "bob", server.Entry{Op: server.Text, Payload: []byte("while you were away")})

	received := make(chan string)
	c, err := client.New(client.Config{
		URL: "ws://" + srv.Addr().String() + "/ws?user=bob",
		Inbox: func(ctx context.Context, m *client.Message) error {
			received <- m.Text()
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	fmt.Println(<-received)
	cancel()
	fmt.Println(<-done)
	// Output:
	// while you were away
	// context canceled
}

// A topic is subscribed while the client is connected.
func ExampleClient_Subscribe() {
	srv, stop, err := start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := client.New(client.Config{URL: "ws://" + srv.Addr().String() + "/ws?user=bob"})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	received := make(chan *client.Message)
	c.Subscribe("scores.final", func(ctx context.Context, m *client.Message) error {
		select {
		case received <- m:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	// A first-time subscriber receives what is published once the server has subscribed it.
	for {
		d, err := srv.PublishStored(ctx, "scores.final", server.Entry{Op: server.Text, Payload: []byte("2:1")})
		if err != nil {
			fmt.Println(err)
			return
		}
		if d.Receivers > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	m := <-received
	fmt.Println(m.Topic, m.Text())
	cancel()
	<-done
	// Output: scores.final 2:1
}

func ExampleNew() {
	var (
		ctx          context.Context
		token        func(context.Context) (string, error)
		show, update client.Handler
		reload       func(ctx context.Context, topic string)
	)
	c, err := client.New(client.Config{
		URL:   "wss://push.example.com/ws",
		Token: token,
		Inbox: show,
		Gap:   reload,
		Error: func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Subscribe("scores.final", update); err != nil {
		log.Fatal(err)
	}
	log.Fatal(c.Run(ctx))
}
