package console

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"fanfare/server"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// testKey is the key of pages that push.
const testKey = "a-key-of-the-operator"

// tokens is an endpoint that wants one token.
var tokens = server.Endpoint{Path: "/real", Identifier: func(_ context.Context, r *server.Request) (server.Identity, error) {
	if r.Query("token") != "a+b&c" {
		return server.Identity{}, server.Reject(401, "the token is not good")
	}
	return server.Identity{User: "carol", Topics: r.QueryAll("topic")}, nil
}}

// start starts a server with a console.
func start(t *testing.T, cfg server.Config, page Page) *server.Server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Endpoints == nil {
		cfg.Endpoints = []server.Endpoint{server.PushEndpoint("/ws")}
	}
	page.Endpoints = cfg.Endpoints
	cfg.Fallback, cfg.Logger = &page, slog.New(slog.DiscardHandler)
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if page.Authorizes != nil {
		page.Server = srv
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
	})
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return srv
}

// connections lists a user's sessions.
func connections(t *testing.T, srv *server.Server, user string) []server.SessionInfo {
	t.Helper()
	return srv.Sessions(t.Context(), user).Sessions
}

func push(t *testing.T, srv *server.Server, user string, op server.Op, payload []byte) {
	t.Helper()
	if d, err := srv.Push(t.Context(), user, server.NewMessage(op, payload)); err != nil || d.Receivers != 1 {
		t.Fatalf("pushed to %+v, %v", d, err)
	}
}
