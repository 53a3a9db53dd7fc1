// Push-fasthttp is push mounted on a fasthttp server.
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
	// fasthttp has no timeouts of its own accord. They end with the upgrade.
	web := &fasthttp.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxRequestBodySize: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe("127.0.0.1:8080") }()
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
	if err := errors.Join(web.ShutdownWithContext(drain), srv.Shutdown(drain)); err != nil {
		log.Fatal(err)
	}
}

func newHandler(srv *server.Server) (fasthttp.RequestHandler, error) {
	news, err := srv.Mount(server.Endpoint{Identify: server.FromQuery})
	if err != nil {
		return nil, err
	}
	return func(ctx *fasthttp.RequestCtx) {
		path := string(ctx.Path())
		switch {
		case path == "/getPushNews":
			news.ServeFastHTTP(ctx)
		case ctx.IsDelete() && strings.HasPrefix(path, "/deleteClient/"):
			if srv.Kick(strings.TrimPrefix(path, "/deleteClient/"), 4000, "deleted") == 0 {
				ctx.Error("nobody of that id is here", fasthttp.StatusNotFound)
				return
			}
			ctx.SetStatusCode(fasthttp.StatusNoContent)
		case ctx.IsPost() && strings.HasPrefix(path, "/push/"):
			// Push copies the body, which dies with ctx.
			switch body := ctx.PostBody(); {
			case !json.Valid(body):
				ctx.Error("want JSON", fasthttp.StatusBadRequest)
			case srv.Push(strings.TrimPrefix(path, "/push/"), server.Text, body) == 0:
				ctx.Error("nobody of that id is here", fasthttp.StatusNotFound)
			default:
				ctx.SetStatusCode(fasthttp.StatusNoContent)
			}
		default:
			ctx.Error("not found", fasthttp.StatusNotFound)
		}
	}, nil
}
