package api

import (
	"io"
	"net"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
)

func TestPprof(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{Pprof: true}, nil)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Skip(err) // the tests themselves are profiled
	}
	defer pprof.StopCPUProfile()
	for path, want := range map[string]string{
		"/debug/pprof":                   "goroutine",
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=2": "goroutine ",
		"/debug/pprof/heap?debug=1&gc=1": "heap profile",
		"/debug/pprof/heap":              "\x1f\x8b", // gzip
		"/debug/pprof/nothing":           `"not_found"`,
		"/debug/pprof/heap/x":            `"not_found"`,
		"/debug/pprof/profile":           `"busy"`,
		"/debug/pprof/trace?seconds=1":   "go 1.",
	} {
		t.Run(path, func(t *testing.T) {
			if got := s.call("GET", path, ""); !strings.Contains(got.body, want) {
				t.Errorf("got %.100v, want %q", got, want)
			}
		})
	}
}

// TestPprofEndsWithClient: a profile ends when its client closes the connection, so that
// the next one can begin.
func TestPprofEndsWithClient(t *testing.T) {
	var active activeConns
	s := newAPIServer(t, server.Config{}, Config{Pprof: true}, active.watch)
	for _, name := range []string{"profile", "trace"} {
		c := s.raw()
		io.WriteString(c, "GET /debug/pprof/"+name+"?seconds=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for !active.any() {
			runtime.Gosched()
		}
		c.Close()
		for deadline := time.Now().Add(patience); active.any(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s goes on without its client", name)
			}
		}
		if got := s.call("GET", "/debug/pprof/"+name+"?seconds=1", ""); got.status != 200 || !got.last || len(got.body) < 10 {
			t.Errorf("%s: the next one: %d, %d bytes", name, got.status, len(got.body))
		}
	}
}

// TestPprofShutdown: a long profile ends with the server.
func TestPprofShutdown(t *testing.T) {
	var active activeConns
	s := newAPIServer(t, server.Config{}, Config{Pprof: true}, active.watch)
	answers := make(chan answer)
	go func() { answers <- s.call("GET", "/debug/pprof/profile?seconds=300", "") }()
	for !active.any() {
		runtime.Gosched()
	}
	s.api.Shutdown()
	if got := <-answers; got.status != 200 || !strings.HasPrefix(got.body, "\x1f\x8b") {
		t.Errorf("got %.100v", got)
	}
}

// activeConns counts the connections with a request in progress.
type activeConns struct {
	mu  sync.Mutex
	all map[net.Conn]struct{} // guarded by mu
}

// watch is for newAPIServer.
func (ac *activeConns) watch(a *API) {
	ac.all = make(map[net.Conn]struct{})
	track := a.http.ConnState
	a.http.ConnState = func(c net.Conn, state fasthttp.ConnState) {
		ac.mu.Lock()
		if state == fasthttp.StateActive {
			ac.all[c] = struct{}{}
		} else {
			delete(ac.all, c)
		}
		ac.mu.Unlock()
		track(c, state)
	}
}

func (ac *activeConns) any() bool {
	ac.mu.Lock()
	defer ac.mu.Unlock()
	return len(ac.all) > 0
}
