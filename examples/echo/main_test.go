package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"fanfare/examples/internal/clients"
)

func TestMain(m *testing.M) { clients.Main(m) }

func TestEcho(t *testing.T) {
	srv, err := newServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	url := "ws://" + srv.Addr().String() + "/echo"
	for _, kind := range clients.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			kind.Need(t)
			c := kind.Dial(t, url)
			for _, text := range []string{"a", "ü 漢字", strings.Repeat("long ", 10_000)} {
				if err := c.Send(text); err != nil {
					t.Fatal(err)
				}
				clients.Want(t, c, text)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	var stay []clients.Client
	for _, kind := range clients.Kinds {
		t.Run(kind.Name+" stays", func(inner *testing.T) {
			kind.Need(inner)
			stay = append(stay, kind.Dial(t, url))
		})
	}
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		ended <- srv.Shutdown(ctx)
	}()
	for _, c := range stay {
		clients.WantClosed(t, c, 1001)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
