package main

import (
	"net"
	"net/http"
	"testing"

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
		web, done := &http.Server{Handler: handler}, make(chan error)
		go func() { done <- web.Serve(ln) }()
		return func() {
			web.Close()
			<-done
		}
	})
}
