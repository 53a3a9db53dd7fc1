// Push is the classic: clients connect and listen, a backend pushes JSON to
// them by user id, and heartbeats close those that are dead. It is mounted on a
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
		PingInterval: 25 * time.Second, // a client that was silent for so long is pinged,
		PingTimeout:  10 * time.Second, // and closed if it stays so
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
	// The HTTP server first: no more connections are upgraded. Those that were are
	// not its any more, and closed by ours, with 1001.
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
		// A real program asks its own session cookie or token who this is.
		user := r.FormValue("userId")
		if user == "" {
			http.Error(w, "no userId", http.StatusBadRequest)
			return
		}
		// The client has its answer in any case, and the handler returns while
		// the connection lives on without it.
		if err := news.Upgrade(w, r, server.Identity{User: user}); err != nil {
			log.Printf("user %.20q was not connected: %v", user, err)
		}
	})
	mux.HandleFunc("DELETE /deleteClient/{id}", func(w http.ResponseWriter, r *http.Request) {
		if srv.Kick(r.PathValue("id"), 4000, "deleted") == 0 {
			http.Error(w, "nobody of that id is here", http.StatusNotFound)
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
		// Every connection of the user gets it: the phone and the three tabs.
		if srv.Push(r.PathValue("id"), server.Text, body) == 0 {
			http.Error(w, "nobody of that id is here", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux, nil
}
