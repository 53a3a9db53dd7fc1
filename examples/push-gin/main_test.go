package main

import (
	"net"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"fanfare/examples/internal/clients"
	"fanfare/examples/internal/pushtest"
	"fanfare/server"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	clients.Main(m)
}

func TestPush(t *testing.T) {
	pushtest.Run(t, func(t testing.TB, srv *server.Server, ln net.Listener) func() {
		router := gin.New()
		router.Use(gin.Recovery())
		if err := routes(router, srv); err != nil {
			t.Fatal(err)
		}
		web, done := &http.Server{Handler: router}, make(chan error)
		go func() { done <- web.Serve(ln) }()
		return func() {
			web.Close()
			<-done
		}
	})
}
