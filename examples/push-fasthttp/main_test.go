package main

import (
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/examples/internal/clients"
	"fanfare/examples/internal/pushtest"
	"fanfare/server"
)

func TestMain(m *testing.M) { clients.Main(m) }

func TestPush(t *testing.T) {
	pushtest.Run(t, func(t testing.TB, srv *server.Server, ln net.Listener) func() {
		handler, err := newHandler(srv)
		if err != nil {
			t.Fatal(err)
		}
		web, done := &fasthttp.Server{Handler: handler, MaxIdleWorkerDuration: 50 * time.Millisecond}, make(chan error)
		go func() { done <- web.Serve(ln) }()
		return func() {
			web.Shutdown()
			<-done
		}
	})
}
