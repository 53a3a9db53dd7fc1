package api

import (
	"io"
	"runtime"
	"runtime/pprof"
	"strings"
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
	s := newAPIServer(t, server.Config{}, Config{Pprof: true}, nil)
	for _, name := range []string{"profile", "trace"} {
		c := s.raw()
		io.WriteString(c, "GET /debug/pprof/"+name+"?seconds=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for !s.requestInProgress() {
			runtime.Gosched()
		}
		c.Close()
		for deadline := time.Now().Add(patience); s.requestInProgress(); time.Sleep(time.Millisecond) {
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
	s := newAPIServer(t, server.Config{}, Config{Pprof: true}, nil)
	answers := make(chan answer)
	go func() { answers <- s.call("GET", "/debug/pprof/profile?seconds=300", "") }()
	for !s.requestInProgress() {
		runtime.Gosched()
	}
	s.api.Shutdown()
	if got := <-answers; got.status != 200 || !strings.HasPrefix(got.body, "\x1f\x8b") {
		t.Errorf("got %.100v", got)
	}
}

func (s *apiServer) requestInProgress() bool {
	t := &s.api.conns
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.eachLocked {
		if c.state == fasthttp.StateActive {
			return true
		}
	}
	return false
}
