// Command gorilla is the program of ../fanfare on gorilla/websocket.
package main

import (
	"log"
	"net/http"

	"github.com/gorilla/websocket"
)

func main() {
	var u websocket.Upgrader
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return
			}
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}
