// Command push is a notification server: clients connect and listen, a backend pushes JSON to
// them by user ID, and heartbeats find connections that are dead. It is mounted on a
// net/http server, which serves everything else as well.
//
//	go run ./push
//	npx wscat -c 'ws://127.0.0.1:8080/getPushNews?userId=7'
//	curl --json '{"news":1}' http://127.0.0.1:8080/push/7
//	curl -X DELETE http://127.0.0.1:8080/deleteClient/7
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fanfare/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv, err := server.New(server.Config{
		PingInterval: 25 * time.Second, // a session that sent nothing for this long is pinged,
		PingTimeout:  10 * time.Second, // and closed if it does not answer
	})
	if err != nil {
		log.Fatal(err)
	}
	handler, err := newHandler(srv)
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Addr: "127.0.0.1:8080", Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe() }()
	log.Print("listening at http://127.0.0.1:8080")
	select {
	case err := <-failed:
		log.Fatal(err)
	case <-ctx.Done():
	}
	// The HTTP server first, so that no more connections are upgraded. It knows nothing of
	// the upgraded ones, which srv closes with 1001.
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(web.Shutdown(drain), srv.Shutdown(drain)); err != nil {
		log.Fatal(err)
	}
}

func newHandler(srv *server.Server) (http.Handler, error) {
	news, err := srv.Mount(server.Endpoint{})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /getPushNews", func(w http.ResponseWriter, r *http.Request) {
		// A real program identifies the user by a cookie or a token.
		user := r.FormValue("userId")
		if user == "" {
			http.Error(w, "no userId", http.StatusBadRequest)
			return
		}
		// Upgrade answers the client in any case, and returns at once; the connection
		// needs this goroutine no more.
		if err := news.Upgrade(w, r, server.Identity{User: user}); err != nil {
			log.Printf("user %.20q was not connected: %v", user, err)
		}
	})
	mux.HandleFunc("DELETE /deleteClient/{id}", func(w http.ResponseWriter, r *http.Request) {
		if d, _ := srv.Disconnect(r.Context(), r.PathValue("id"), 4000, "deleted"); d.Receivers == 0 {
			http.Error(w, "no client of that id is connected", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /push/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil || !json.Valid(body) {
			http.Error(w, "want JSON, at most 64 KiB", http.StatusBadRequest)
			return
		}
		// Every session of the user receives it: the phone and the three tabs.
		if d, _ := srv.Push(r.Context(), r.PathValue("id"), server.NewMessage(server.Text, body)); d.Receivers == 0 {
			http.Error(w, "no client of that id is connected", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux, nil
}
