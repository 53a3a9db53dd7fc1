package embed

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"fanfare/server"
)

func quickStart(ctx context.Context, whoIs server.Identifier, onMessage func(*server.Session, server.Op, []byte)) {
	srv, err := server.New(server.Config{})
	if err != nil {
		log.Fatal(err)
	}
	mount, err := srv.Mount(server.Endpoint{Identifier: whoIs, Hooks: server.Hooks{OnMessage: onMessage}})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", mount) // net/http, chi; gin: router.GET("/ws", gin.WrapH(mount))
	srv.Push(ctx, "alice", server.NewMessage(server.Text, []byte("hi")))
}

func push(ctx context.Context, srv *server.Server) error {
	delivery, err := srv.Push(ctx, "alice", server.NewMessage(server.Text, []byte(`{"hello":"world"}`)))
	if err != nil {
		return err
	}
	if !delivery.Complete() {
		return fmt.Errorf("%d nodes did not answer: %q", delivery.Missing, delivery.MissingNodes)
	}
	log.Print(delivery.Receivers, " sessions")
	return nil
}

func allowOrigin(srv *server.Server) {
	cfg := srv.Config() // in force, with defaults filled in
	cfg.AllowOrigins = append(cfg.AllowOrigins, "https://new.example.com")
	if err := srv.Reconfigure(cfg); err != nil {
		log.Print("nothing is changed: ", err)
	}
}

func shutdown(ctx context.Context, web *http.Server, srv *server.Server) error {
	return errors.Join(web.Shutdown(ctx), srv.Shutdown(ctx))
}
