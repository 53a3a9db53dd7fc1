package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/netpoll"
)

var transports = []netpoll.Kind{netpoll.Epoll, netpoll.Easygo, netpoll.Goroutine}

// start runs a server on a free port and shuts it down when the test ends.
func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(ctx)
	})
	return srv
}

type client struct {
	net.Conn
	r io.Reader
}

func (c *client) Read(p []byte) (int, error) { return c.r.Read(p) }

func dial(t testing.TB, srv *Server, path string) *client {
	t.Helper()
	c, br, _, err := ws.Dial(context.Background(), "ws://"+srv.Addr().String()+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	var r io.Reader = c
	if br != nil {
		r = br
	}
	return &client{c, r}
}

func TestEchoAndPush(t *testing.T) {
	for _, kind := range transports {
		t.Run(kind.String(), func(t *testing.T) {
			srv := start(t, Config{Transport: kind})
			e := dial(t, srv, "/echo")
			for i := range 100 {
				msg := bytes.Repeat([]byte("x"), i*10)
				if err := wsutil.WriteClientBinary(e, msg); err != nil {
					t.Fatal(err)
				}
				got, err := wsutil.ReadServerBinary(e)
				if err != nil || !bytes.Equal(got, msg) {
					t.Fatalf("echo %d: %q, %v", i, got, err)
				}
			}
			a := dial(t, srv, "/ws?user=alice&topic=news")
			b := dial(t, srv, "/ws?user=bob")
			if n := srv.Push("alice", Text, []byte("hello")); n != 1 {
				t.Errorf("Push reached %d", n)
			}
			if got, err := wsutil.ReadServerText(a); err != nil || string(got) != "hello" {
				t.Errorf("alice got %q, %v", got, err)
			}
			if n := srv.Broadcast(Text, []byte("all")); n != 2 {
				t.Errorf("Broadcast reached %d", n)
			}
			for _, c := range []*client{a, b} {
				if got, err := wsutil.ReadServerText(c); err != nil || string(got) != "all" {
					t.Errorf("got %q, %v", got, err)
				}
			}
			if n := srv.Publish("news", Text, []byte("n")); n != 1 {
				t.Errorf("Publish reached %d", n)
			}
			resp := get(t, srv, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			fmt.Println(resp)
		})
	}
}

func get(t testing.TB, srv *Server, req string) string {
	t.Helper()
	c, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(c, req)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}
