package client

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server"
)

// TestCalls: a client publishes and requests on a real server, and tells errors apart.
func TestCalls(t *testing.T) {
	ep := server.PushEndpoint("/ws")
	ep.Identifier = func(ctx context.Context, r *server.Request) (server.Identity, error) {
		id, err := server.FromQuery(ctx, r)
		id.MayPublish = []string{"chat"}
		return id, err
	}
	ep.Respond = func(_ context.Context, in server.Inbound) (*server.Message, error) {
		if string(in.Payload) == "no" {
			return nil, &server.RequestError{Code: "rejected", Message: "never"}
		}
		return server.NewMessage(in.Op, append([]byte("re: "), in.Payload...)), nil
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
	opened := make(chan struct{}, 1)
	c, err := New(Config{URL: "ws://" + srv.Addr().String() + "/ws?user=bob", State: func(s State) {
		if s == Open {
			opened <- struct{}{}
		}
	}, Error: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Request(ctx, Text("x")); !errors.Is(err, ErrNotConnected) {
		t.Errorf("before Run: %v", err)
	}
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { done <- c.Run(running) }()
	select {
	case <-opened:
	case <-ctx.Done():
		t.Fatal("not connected")
	}
	for _, want := range []Payload{Text("re: a\n"), {Data: []byte("re: \xff"), Binary: true}, Text("re: ")} {
		if got, err := c.Request(ctx, Payload{want.Data[4:], want.Binary}); err != nil || string(got.Data) != string(want.Data) || got.Binary != want.Binary {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	var rejected *RejectedError
	if _, err := c.Request(ctx, Text("no")); !errors.As(err, &rejected) || rejected.Code != "rejected" || rejected.Text != "never" {
		t.Errorf("got %v", err)
	}
	if at, err := c.Publish(ctx, "chat", Text("hi")); err != nil || at != (Position{}) {
		t.Errorf("published at %v, %v", at, err)
	}
	if _, err := c.Publish(ctx, "news", Text("hi")); !errors.As(err, &rejected) || rejected.Code != "forbidden" {
		t.Errorf("got %v", err)
	}
	stop()
	<-done
}

// TestCallWithoutAnswer: a call ends with its session, and with its context, and a late answer
// is ignored.
func TestCallWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{}, nil)
		defer s.end()
		s.say(`{"type":"hello","user":"bob"}`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.c.Request(ctx, Text("x")); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its time: %v", err)
		}
		s.say(`{"type":"reply","id":"1","text":"late"}`)
		got := make(chan error, 1)
		go func() {
			at, err := s.c.Publish(t.Context(), "log", Text("x"))
			if at != (Position{7, "e"}) {
				t.Errorf("published at %+v", at)
			}
			got <- err
		}()
		synctest.Wait()
		s.say(`{"type":"publish","id":"2","topic":"log","epoch":"e","offset":7}`)
		if err := <-got; err != nil {
			t.Error(err)
		}
		go func() {
			_, err := s.c.Request(t.Context(), Text("x"))
			got <- err
		}()
		synctest.Wait()
		s.drop()
		if err := <-got; !errors.Is(err, ErrNoAnswer) {
			t.Errorf("after the end of the session: %v", err)
		}
	})
}
