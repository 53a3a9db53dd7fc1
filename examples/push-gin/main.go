// Command push-gin is push mounted in a gin router.
//
//	go run ./push-gin
//	npx wscat -c 'ws://127.0.0.1:8080/getPushNews?userId=7'
//	curl --json '{"news":1}' http://127.0.0.1:8080/push/7
//	curl -X DELETE http://127.0.0.1:8080/deleteClient/7
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"fanfare/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv, err := server.New(server.Config{})
	if err != nil {
		log.Fatal(err)
	}
	router := gin.Default()
	if err := routes(router, srv); err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Addr: "127.0.0.1:8080", Handler: router, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe() }()
	log.Print("listening at http://127.0.0.1:8080")
	select {
	case err := <-failed:
		log.Fatal(err)
	case <-ctx.Done():
	}
	// Shut down the HTTP server first, so that no more connections are upgraded. It does not
	// know the upgraded ones; srv closes these with 1001.
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(web.Shutdown(drain), srv.Shutdown(drain)); err != nil {
		log.Fatal(err)
	}
}

func routes(router gin.IRouter, srv *server.Server) error {
	// FromQuery believes the userId of the query. A real program identifies the user in a
	// gin middleware, and calls Mount.Upgrade in a handler of its own.
	news, err := srv.Mount(server.Endpoint{Identifier: server.FromQuery, NonBlocking: true})
	if err != nil {
		return err
	}
	router.GET("/getPushNews", gin.WrapH(news))
	router.DELETE("/deleteClient/:id", func(c *gin.Context) {
		if d, _ := srv.Disconnect(c.Request.Context(), c.Param("id"), 4000, "deleted"); d.Receivers == 0 {
			c.String(http.StatusNotFound, "no client of that id is connected")
			return
		}
		c.Status(http.StatusNoContent)
	})
	router.POST("/push/:id", func(c *gin.Context) {
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 64<<10)
		body, err := c.GetRawData()
		if err != nil || !json.Valid(body) {
			c.String(http.StatusBadRequest, "want JSON, at most 64 KiB")
			return
		}
		if d, _ := srv.Push(c.Request.Context(), c.Param("id"), server.NewMessage(server.Text, body)); d.Receivers == 0 {
			c.String(http.StatusNotFound, "no client of that id is connected")
			return
		}
		c.Status(http.StatusNoContent)
	})
	return nil
}
