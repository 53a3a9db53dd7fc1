// Push-gin is push mounted in a gin router.
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
	// The HTTP server first: no more connections are upgraded. Those that were are
	// not its any more, and closed by ours, with 1001.
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(web.Shutdown(drain), srv.Shutdown(drain)); err != nil {
		log.Fatal(err)
	}
}

func routes(router gin.IRouter, srv *server.Server) error {
	// FromQuery believes the userId of the query. A real program has a gin
	// middleware that knows the user, and calls Mount.Upgrade in a handler of
	// its own.
	news, err := srv.Mount(server.Endpoint{Identify: server.FromQuery})
	if err != nil {
		return err
	}
	router.GET("/getPushNews", gin.WrapH(news))
	router.DELETE("/deleteClient/:id", func(c *gin.Context) {
		if srv.Kick(c.Param("id"), 4000, "deleted") == 0 {
			c.String(http.StatusNotFound, "nobody of that id is here")
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
		if srv.Push(c.Param("id"), server.Text, body) == 0 {
			c.String(http.StatusNotFound, "nobody of that id is here")
			return
		}
		c.Status(http.StatusNoContent)
	})
	return nil
}
