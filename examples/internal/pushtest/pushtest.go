// Package pushtest tests what the three push examples have in common.
package pushtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanfare/examples/internal/clients"
	"fanfare/server"
)

// An Example serves its routes at a listener until stop is called, which
// returns when that has ended.
type Example func(t testing.TB, srv *server.Server, ln net.Listener) (stop func())

// Run tests an example.
func Run(t *testing.T, example Example) {
	t.Run("push and delete", func(t *testing.T) { pushAndDelete(t, example) })
	t.Run("rejections", func(t *testing.T) { rejections(t, example) })
	t.Run("heartbeats", func(t *testing.T) { heartbeats(t, example) })
	t.Run("one descriptor", func(t *testing.T) { oneDescriptor(t, example) })
}

func start(t *testing.T, example Example, cfg server.Config) (srv *server.Server, url string) {
	t.Helper()
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := example(t, srv, ln)
	t.Cleanup(func() {
		stop()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return srv, "http://" + ln.Addr().String()
}

// do makes a request and fails the test if the status is another.
func do(t *testing.T, method, url, body string, status int) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != status {
		t.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
}

func pushAndDelete(t *testing.T, example Example) {
	_, url := start(t, example, server.Config{})
	for _, kind := range clients.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			kind.Need(t)
			do(t, "POST", url+"/push/7", `{"news":1}`, http.StatusNotFound)
			do(t, "DELETE", url+"/deleteClient/7", "", http.StatusNotFound)
			phone, tab := kind.Dial(t, url+"/getPushNews?userId=7"), kind.Dial(t, url+"/getPushNews?userId=7")
			other := kind.Dial(t, url+"/getPushNews?userId=8")
			do(t, "POST", url+"/push/7", `{"news":1}`, http.StatusNoContent)
			do(t, "POST", url+"/push/8", `{"news":2}`, http.StatusNoContent)
			clients.Want(t, phone, `{"news":1}`)
			clients.Want(t, tab, `{"news":1}`)
			clients.Want(t, other, `{"news":2}`)
			do(t, "DELETE", url+"/deleteClient/7", "", http.StatusNoContent)
			clients.WantClosed(t, phone, 4000)
			clients.WantClosed(t, tab, 4000)
			do(t, "DELETE", url+"/deleteClient/8", "", http.StatusNoContent)
			clients.WantClosed(t, other, 4000)
		})
	}
}

func rejections(t *testing.T, example Example) {
	_, url := start(t, example, server.Config{})
	do(t, "POST", url+"/push/7", `{"news":`, http.StatusBadRequest)
	do(t, "GET", url+"/getPushNews?userId=7", "", http.StatusUpgradeRequired)
	do(t, "GET", url+"/elsewhere", "", http.StatusNotFound)
	for _, kind := range clients.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			kind.Need(t)
			for _, query := range []string{"", "?userId=", "?userId=" + strings.Repeat("x", 257), "?userId=%07"} {
				_, err := kind.Try(t, url+"/getPushNews"+query)
				if status, ok := err.(clients.Rejected); !ok || status != http.StatusBadRequest {
					t.Errorf("%q: %v", query, err)
				}
			}
		})
	}
}

// A session that answers pings stays open, others are closed.
func heartbeats(t *testing.T, example Example) {
	srv, url := start(t, example, server.Config{PingInterval: 300 * time.Millisecond, PingTimeout: 300 * time.Millisecond})
	received := make(map[string]chan error)
	for i, kind := range clients.Kinds {
		t.Run(kind.Name, func(inner *testing.T) {
			kind.Need(inner)
			c := kind.Dial(t, fmt.Sprint(url, "/getPushNews?userId=", i))
			done := make(chan error, 1)
			received[kind.Name] = done
			go func() { // reading answers pings
				text, err := c.Receive()
				if err == nil && text != `"still here?"` {
					err = fmt.Errorf("got %q", text)
				}
				done <- err
			}()
		})
	}
	live := len(received)
	dead := clients.Gorilla.Dial(t, url+"/getPushNews?userId=dead") // reads nothing
	begun := time.Now()
	clients.Eventually(t, "the dead one is closed", func() bool { return srv.Count() == live })
	if took := time.Since(begun); took < 500*time.Millisecond {
		t.Errorf("it was closed after %v", took)
	}
	clients.WantClosed(t, dead, 1006)
	for i, kind := range clients.Kinds {
		if done := received[kind.Name]; done != nil { // else it was skipped
			do(t, "POST", fmt.Sprint(url, "/push/", i), `"still here?"`, http.StatusNoContent)
			if err := <-done; err != nil {
				t.Errorf("%s: %v", kind.Name, err)
			}
		}
	}
}

// The descriptor moves from the HTTP server to srv: each connection has one, besides that
// of the client, which is in this process, too.
func oneDescriptor(t *testing.T, example Example) {
	const n = 100
	srv, url := start(t, example, server.Config{})
	clients.Gorilla.Dial(t, url+"/getPushNews?userId=first")
	http.DefaultClient.CloseIdleConnections()
	before := clients.Sockets(t)
	for i := range n {
		clients.Gorilla.Dial(t, fmt.Sprint(url, "/getPushNews?userId=", i))
	}
	if got := clients.Sockets(t) - before; got != 2*n {
		t.Errorf("%d connections have %d sockets, both ends included", n, got)
	}
	if got := srv.Count(); got != n+1 {
		t.Errorf("%d sessions", got)
	}
}
