// Command push-fasthttp is push mounted on a fasthttp server.
//
//	go run ./push-fasthttp
//	npx wscat -c 'ws://127.0.0.1:8080/getPushNews?userId=7'
//	curl --json '{"news":1}' http://127.0.0.1:8080/push/7
//	curl -X DELETE http://127.0.0.1:8080/deleteClient/7
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/fasthttpmount"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv, err := server.New(server.Config{})
	if err != nil {
		log.Fatal(err)
	}
	handler, err := newHandler(srv)
	if err != nil {
		log.Fatal(err)
	}
	// fasthttp has no timeouts by default. They end with the upgrade.
	web := &fasthttp.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxRequestBodySize: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe("127.0.0.1:8080") }()
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
	if err := errors.Join(web.ShutdownWithContext(drain), srv.Shutdown(drain)); err != nil {
		log.Fatal(err)
	}
}

func newHandler(srv *server.Server) (fasthttp.RequestHandler, error) {
	mount, err := srv.Mount(server.Endpoint{Identifier: server.FromQuery, NonBlocking: true})
	if err != nil {
		return nil, err
	}
	news := fasthttpmount.Handler(mount)
	return func(ctx *fasthttp.RequestCtx) {
		path := string(ctx.Path())
		switch {
		case path == "/getPushNews":
			news(ctx)
		case ctx.IsDelete() && strings.HasPrefix(path, "/deleteClient/"):
			if d, _ := srv.Disconnect(ctx, strings.TrimPrefix(path, "/deleteClient/"), 4000, "deleted"); d.Receivers == 0 {
				ctx.Error("no client of that id is connected", fasthttp.StatusNotFound)
				return
			}
			ctx.SetStatusCode(fasthttp.StatusNoContent)
		case ctx.IsPost() && strings.HasPrefix(path, "/push/"):
			body := ctx.PostBody() // NewMessage copies it; fasthttp reuses its memory
			if !json.Valid(body) {
				ctx.Error("want JSON", fasthttp.StatusBadRequest)
				return
			}
			if d, _ := srv.Push(ctx, strings.TrimPrefix(path, "/push/"), server.NewMessage(server.Text, body)); d.Receivers == 0 {
				ctx.Error("no client of that id is connected", fasthttp.StatusNotFound)
				return
			}
			ctx.SetStatusCode(fasthttp.StatusNoContent)
		default:
			ctx.Error("not found", fasthttp.StatusNotFound)
		}
	}, nil
}
