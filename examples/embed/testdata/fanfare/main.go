// Command fanfare is the smallest program that embeds the server and pushes, for its size.
package main

import (
	"log"
	"net/http"

	"fanfare/server"
)

func main() {
	srv, err := server.New(server.Config{})
	if err != nil {
		log.Fatal(err)
	}
	mount, err := srv.Mount(server.Endpoint{Identifier: server.FromQuery})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/ws", mount)
	http.HandleFunc("/push", func(_ http.ResponseWriter, r *http.Request) {
		srv.Push(r.Context(), "alice", server.NewMessage(server.Text, []byte(r.URL.Path)))
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}
