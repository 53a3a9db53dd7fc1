package client

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/server"
)

// TestServer: tokens expire, and messages are compressed, on a real server.
func TestServer(t *testing.T) {
	ep := server.PushEndpoint("/ws")
	ep.Compress, ep.Insecure = true, false
	ep.Identifier = func(_ context.Context, r *server.Request) (server.Identity, error) {
		switch r.Header("Authorization") {
		case "Bearer 1":
			return server.Identity{User: "bob", Expires: time.Now()}, nil
		case "Bearer 2":
			return server.Identity{User: "bob"}, nil
		}
		return server.Identity{}, server.Reject(401, "no token")
	}
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Endpoints: []server.Endpoint{ep}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		srv.Shutdown(ctx)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var tokens atomic.Int64
	received, failures := make(chan string, 1), make(chan error, 10)
	c, err := New(Config{
		URL: "ws://" + srv.Addr().String() + "/ws", Compress: true, MinDelay: time.Millisecond,
		Token: func(context.Context) (string, error) { return fmt.Sprint(tokens.Add(1)), nil },
		Inbox: func(ctx context.Context, m *Message) error {
			select {
			case received <- m.Text():
			case <-ctx.Done():
			}
			return nil
		},
		Error: func(err error) { failures <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	select {
	case err := <-failures:
		if closed, ok := err.(*CloseError); !ok || closed.Code != 3000 {
			t.Errorf("the first session ended with %v", err)
		}
	case <-ctx.Done():
		t.Fatal("the token did not expire")
	}
	long := fmt.Sprintf("%01000d", 7)
	for got := ""; got != long; {
		if _, err := srv.Push(ctx, "bob", server.NewMessage(server.Text, []byte(long))); err != nil {
			t.Fatal(err)
		}
		select {
		case got = <-received:
		case <-time.After(10 * time.Millisecond):
		}
	}
	if tokens.Load() != 2 {
		t.Errorf("%d tokens were asked for", tokens.Load())
	}
	cancel()
	<-done
}
