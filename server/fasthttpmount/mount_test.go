package fasthttpmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/sse"
)

// The tests of package server run over this package as over net/http (hosts in
// mount_host_test.go). Here is what is particular to it.

// serve runs a handler and returns how to ask it.
func serve(t *testing.T, h fasthttp.RequestHandler) (ask func(target string, header ...string) *http.Response) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &fasthttp.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); app.Serve(ln) }()
	t.Cleanup(func() { app.Shutdown(); <-done })
	return func(target string, header ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+ln.Addr().String()+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range append(header, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") {
			name, value, _ := strings.Cut(f, ": ")
			r.Header.Add(name, value)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
}

// A Stream begins without an upgrade.
func TestStream(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &fasthttp.Server{Handler: Handler(newMount(t, sse.PushEndpoint("/")))}
	done := make(chan struct{})
	go func() { defer close(done); app.Serve(ln) }()
	defer func() { app.Shutdown(); <-done }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/?user=a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, len("retry: "))
	if _, err := io.ReadFull(resp.Body, b); err != nil || resp.StatusCode != http.StatusOK || string(b) != "retry: " {
		t.Errorf("%s %q %v", resp.Status, b, err)
	}
}

func newMount(t *testing.T, ep server.Endpoint) *server.Mount {
	srv, err := server.New(server.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Shutdown(context.Background()) })
	m, err := srv.Mount(ep)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The Identifier sees the request, and the values that the application has set.
func TestIdentifier(t *testing.T) {
	seen := make(chan string, 1)
	m := newMount(t, server.Endpoint{Identifier: func(ctx context.Context, r *server.Request) (server.Identity, error) {
		seen <- fmt.Sprint(ctx.Value("tenant"), " ", r.Method(), " ", r.Path(), " ", r.Query("q"), " ", r.Headers("X-Y"), " ", r.Cookie("c"), " ", r.HTTP() == nil, " ", r.RemoteAddr().Addr().IsLoopback())
		return server.Identity{User: "u"}, nil
	}})
	ask := serve(t, func(ctx *fasthttp.RequestCtx) {
		ctx.SetUserValue("tenant", "acme")
		Handler(m)(ctx)
	})
	if resp := ask("/a%20b?q=%C3%BC", "X-Y: 1", "X-Y: 2", "Cookie: c=d"); resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	if got, want := <-seen, "acme GET /a%20b ü [1 2] d true true"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Upgrade returns what the client was sent.
func TestUpgrade(t *testing.T) {
	m := newMount(t, server.Endpoint{Identifier: func(context.Context, *server.Request) (server.Identity, error) {
		return server.Identity{}, errors.New("called for no reason")
	}})
	errs := make(chan error, 1)
	ask := serve(t, func(ctx *fasthttp.RequestCtx) {
		errs <- Upgrade(m, ctx, server.Identity{User: string(ctx.QueryArgs().Peek("user"))})
	})
	if resp := ask("/?user=a"); resp.StatusCode != 101 {
		t.Error(resp.Status)
	}
	if err := <-errs; err != nil {
		t.Error(err)
	}
	resp := ask("/?user=a", "Origin: https://evil.example")
	var rejection *server.Rejection
	if err := <-errs; !errors.As(err, &rejection) || rejection.Status != 403 || resp.StatusCode != 403 {
		t.Errorf("%s, %v", resp.Status, err)
	}
	resp = ask("/?user=a", "Sec-WebSocket-Version: 8")
	if <-errs; resp.StatusCode != 426 || resp.Header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
}
