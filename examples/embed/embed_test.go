package embed

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/valyala/fasthttp"

	"fanfare/server"
)

func TestWelcome(t *testing.T) {
	srv, err := server.New(server.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(t.Context())
	mount, err := newMount(srv)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mount)
	defer web.Close()

	c, _, err := websocket.Dial(t.Context(), web.URL, &websocket.DialOptions{
		HTTPHeader: http.Header{"Cookie": {"session=alice"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, text, err := c.Read(t.Context()); err != nil || string(text) != "welcome, alice" {
		t.Fatal(string(text), err)
	}
	if _, err := srv.Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	if _, text, err := c.Read(t.Context()); err != nil || string(text) != "hello" {
		t.Fatal(string(text), err)
	}
}

// TestRouters opens a session through every router of the document, is rejected without
// a cookie, and receives a push.
func TestRouters(t *testing.T) {
	gin.SetMode(gin.TestMode)
	srv, err := server.New(server.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	mount, err := newMount(srv)
	if err != nil {
		t.Fatal(err)
	}
	contextual, err := srv.Mount(server.Endpoint{Identifier: fromContext})
	if err != nil {
		t.Fatal(err)
	}
	fast := &fasthttp.Server{Handler: inFastHTTP(mount)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- fast.Serve(ln) }()
	defer func() { fast.Shutdown(); <-served }()

	for _, c := range []struct {
		name, welcome string
		handler       http.Handler
	}{
		{"net/http", "welcome, alice", inNetHTTP(mount)},
		{"chi", "welcome, alice", inChi(mount)},
		{"gin", "welcome, alice", inGin(mount)},
		{"fasthttp", "welcome, alice", nil},
		{"Upgrade", "welcome, alice", afterMiddleware(mount)},
		{"Identifier with a context", "", authenticate(contextual)},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := "http://" + ln.Addr().String() + "/ws"
			if c.handler != nil {
				web := httptest.NewServer(c.handler)
				defer web.Close()
				url = web.URL + "/ws"
			}
			if _, resp, err := websocket.Dial(t.Context(), url, nil); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("without a cookie: %v, %v", resp, err)
			}
			conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"session=alice"}}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if c.welcome != "" {
				expect(t, conn, c.welcome)
				conn.Write(t.Context(), websocket.MessageText, []byte("echo"))
				expect(t, conn, "echo")
			}
			if err := push(t.Context(), srv); err != nil {
				t.Fatal(err)
			}
			expect(t, conn, `{"hello":"world"}`)
			conn.Close(websocket.StatusNormalClosure, "")
		})
	}
}

func expect(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, got, err := c.Read(ctx); err != nil || string(got) != want {
		t.Fatalf("received %q, %v, want %q", got, err, want)
	}
}

// TestShutdown ends the web server and then the sessions, with 1001.
func TestShutdown(t *testing.T) {
	srv, err := server.New(server.Config{})
	if err != nil {
		t.Fatal(err)
	}
	mount, err := newMount(srv)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mount)
	defer web.Close()
	c, _, err := websocket.Dial(t.Context(), web.URL, &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"session=alice"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	expect(t, c, "welcome, alice")
	done := make(chan error, 1)
	go func() { done <- shutdown(t.Context(), web.Config, srv) }()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the session ended with %v, want 1001", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestQuickStart compiles the README's program and keeps it in use.
func TestAllowOrigin(t *testing.T) {
	srv, err := server.New(server.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(t.Context())
	allowOrigin(srv)
	if got := srv.Config().AllowOrigins; len(got) != 1 || got[0] != "https://new.example.com" {
		t.Errorf("origins: %q", got)
	}
}

func TestQuickStart(t *testing.T) { quickStart(t.Context(), fromContext, nil) }
