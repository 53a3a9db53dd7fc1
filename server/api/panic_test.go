package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"fanfare/server"
	"fanfare/server/api/internal/body"
	"fanfare/server/inbox"
	"fanfare/server/store"
)

// A panic costs the request, or the batch, that it happens in: it is answered, logged with
// its stack and counted, no CPU slot is lost, and other connections go on.
func TestAPIRecovers(t *testing.T) {
	long := strings.Repeat("x", stretch)
	const bad, badAnswer = "{}\n", `{"error":{"code":"bad_document"`
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"handler", "GET", "/v1/stats", "", 500, `{"error":{"code":"internal"`},
		{"handler with a long body", "POST", "/v1/users/u/push?durable=true", long, 500, "internal"},
		{"document", "POST", "/v1/push", `{"users":["u"],"text":"` + long + `"}`, 500, "internal"},
		{"batch", "POST", "/v1/batch", bad + `{"users":["u"],"text":"` + long + `"}` + "\n" + bad, 200, "internal"},
		{"metrics", "GET", "/metrics", "", 500, "panic"},
		{"durable line", "POST", "/v1/batch", bad + `{"users":["u"],"durable":true,"text":"x"}` + "\n" + bad, 200, "internal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log syncBuffer
			cfg := withInbox(t, inbox.Config{})
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			s := newAPIServer(t, cfg, Config{}, func(a *API) {
				a.slots = make(body.Slots, 1)
				a.srv = nil // whatever uses it panics
			})
			idle, other := s.raw(), s.openBatch()
			for range 2 {
				io.WriteString(idle, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
				if got := readAnswer(t, idle); got.status != 200 {
					t.Errorf("another connection: %v", got)
				}
				other.send(bad)
				other.expect(badAnswer)
				got := s.call(test.method, test.path, test.body)
				if got.status != test.status || !strings.Contains(got.body, test.want) {
					t.Errorf("got %v, want %d %s", got, test.status, test.want)
				}
				if lines := strings.Split(got.body, "\n"); test.path == "/v1/batch" && (len(lines) != 3 || !strings.HasPrefix(lines[0], badAnswer) || lines[2] != "") {
					t.Errorf("got %q, want the first answer, and the error at the end", lines)
				}
			}
			if n := s.api.panics.Load(); n != 2 || strings.Count(log.String(), "panic recovered") != 2 || !strings.Contains(log.String(), "server/api.") {
				t.Errorf("%d panics are counted, the log is %s", n, log.String())
			}
			if len(s.api.slots) > 0 {
				t.Error("the CPU slot is still acquired")
			}
		})
	}
}

// panickyContext panics when it is asked, once it is on.
type panickyContext struct {
	context.Context
	on *atomic.Bool
}

func (c panickyContext) Done() <-chan struct{} {
	if c.on.Load() {
		panic("panic in Done")
	}
	return c.Context.Done()
}

// A panic in the goroutine that stores a line of a batch fails that line alone.
func TestBatchGoroutineRecovers(t *testing.T) {
	var on atomic.Bool
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, func(a *API) { a.quit = panickyContext{a.quit, &on} })
	s.call("GET", "/healthz", "") // by now it has started
	on.Store(true)
	got := s.call("POST", "/v1/batch", `{"users":["a","b"],"durable":true,"data":1}`+"\n"+`{"users":["a"],"data":2}`+"\n")
	on.Store(false)
	if lines := strings.Split(got.body, "\n"); len(lines) != 3 || !strings.Contains(lines[0], "internal") || lines[1] != `{"receivers":0}` {
		t.Errorf("got %v", got)
	}
	if n := s.api.panics.Load(); n != 1 {
		t.Errorf("%d panics are counted, want 1", n)
	}
}

// A panic in a goroutine that stores for one of several users fails the document, and
// every other user's place is given back.
func TestStoreGoroutinesRecover(t *testing.T) {
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, nil)
	pending, err := s.Begin(store.Box{User: "a"}, server.Entry{Op: server.Text, Payload: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	a := storedAnswer{users: []string{"", "a"}, stored: make([]server.Stored, 2)}
	a.finish(context.Background(), s.api, []*server.Pending{nil, pending})
	if a.problem != errInternal || a.stored[1].Offset == 0 || s.api.panics.Load() != 1 {
		t.Errorf("got %+v, %d panics", a, s.api.panics.Load())
	}
}

// A panic in Read that is not in a line ends the batch, too.
func TestBatchReadRecovers(t *testing.T) {
	a := &API{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}
	b := &batch{api: a} // everything that Read uses is missing
	answer := make([]byte, 1000)
	n, err := b.Read(answer)
	if err != nil || !strings.Contains(string(answer[:n]), "internal") || a.panics.Load() != 1 {
		t.Errorf("got %q, %v, %d panics", answer[:n], err, a.panics.Load())
	}
	if _, err := b.Read(answer); !errors.Is(err, errPanic) || a.panics.Load() != 2 {
		t.Errorf("got %v, %d panics", err, a.panics.Load())
	}
}
