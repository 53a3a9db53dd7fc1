package main

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"fanfare/examples/internal/clients"
	"fanfare/server"
)

func TestMain(m *testing.M) { clients.Main(m) }

const every = 200 * time.Millisecond

func start(t *testing.T) (srv *server.Server, url string) {
	t.Helper()
	srv, err := newServer("127.0.0.1:0", every)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return srv, "ws://" + srv.Addr().String() + "/hello"
}

func TestHello(t *testing.T) {
	_, url := start(t)
	for _, kind := range clients.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			kind.Need(t)
			begun := time.Now()
			c := kind.Dial(t, url)
			for i := range 4 {
				clients.Want(t, c, fmt.Sprint("hello ", i))
			}
			if took := time.Since(begun); took < 3*every {
				t.Errorf("three intervals of %v took %v", every, took)
			}
			if err := c.Close(); err != nil { // greetings may be under way
				t.Error(err)
			}
		})
	}
}

// Many clients need no goroutine each.
func TestHelloToMany(t *testing.T) {
	const n = 500
	srv, url := start(t)
	var all []clients.Client
	for range n {
		all = append(all, clients.Gorilla.Dial(t, url))
	}
	if got := runtime.NumGoroutine(); got > n/5 {
		t.Errorf("%d goroutines for %d clients", got, n)
	}
	for i := range 3 {
		for _, c := range all {
			clients.Want(t, c, fmt.Sprint("hello ", i))
		}
	}
	if srv.Count() != n {
		t.Errorf("%d sessions", srv.Count())
	}
}
