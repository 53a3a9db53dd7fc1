package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"fanfare/internal/leak"
	"fanfare/server"
)

// TestMain fails the package if a goroutine of ours, or of a NATS, is left.
func TestMain(m *testing.M) {
	leak.Main(m, 10*time.Second,
		"testing.(*M).startAlarm",
		"nats-server/v2/server/ats.", // its coarse clock
		"nats-server/v2/server/pse.", // its look at the process
	)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const (
	secretText    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecretText = "whsec_plJ3nmyCDGBKInavdOK15jslplJ3nmyCDGBK"
)

func secretsOf(t testing.TB, lines ...string) []Secret {
	t.Helper()
	secrets, err := ParseSecrets(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

// request is what a receiver got.
type request struct {
	header http.Header
	body   []byte
	at     time.Time
	batchDocument
}

// batchDocument is the body of a request, as a receiver decodes it.
type batchDocument struct {
	Type      string
	Timestamp time.Time
	Node      string
	Dropped   int
	Data      struct{ Events []map[string]any }
}

// receiver is a webhook that notes requests. As a RoundTripper it needs no network, so that
// time can be the one of testing/synctest.
type receiver struct {
	mu       sync.Mutex
	requests []request
	answer   func(n int, r *http.Request) *http.Response // of the nth request, from 1; nil: 200
}

func (r *receiver) note(req *http.Request) (n int) {
	body, _ := io.ReadAll(req.Body)
	got := request{header: req.Header.Clone(), body: body, at: time.Now()}
	if err := json.Unmarshal(body, &got.batchDocument); err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, got)
	return len(r.requests)
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	n := r.note(req)
	if r.answer == nil {
		return answer(200), nil
	}
	resp := r.answer(n, req)
	if resp == nil { // it hangs
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return resp, nil
}

func answer(status int, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: h, Body: io.NopCloser(bytes.NewReader(nil))}
}

func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.requests...)
}

// events are the events in the requests from one on, "type subject".
func (r *receiver) events(from int) (all []string) {
	for _, req := range r.all()[from:] {
		all = append(all, req.names()...)
	}
	return all
}

func (b *batchDocument) names() (all []string) {
	for _, e := range b.Data.Events {
		subject := e["user"]
		if subject == nil {
			subject = e["topic"]
		}
		all = append(all, fmt.Sprint(e["type"], " ", subject))
	}
	return all
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: ", what)
		}
	}
}

// start opens a service whose only webhook is r, and closes it when the test ends.
func start(t testing.TB, r http.RoundTripper, cfg Config) *Service {
	t.Helper()
	return startAt(t, r, cfg, time.Now)
}

// startAt is start with a clock.
func startAt(t testing.TB, r http.RoundTripper, cfg Config, now func() time.Time) *Service {
	t.Helper()
	cfg.transport, cfg.Node = r, "n1"
	if cfg.Hooks == nil {
		cfg.Hooks = []Hook{{URL: "https://app.example.com/hook"}}
	}
	if cfg.Secrets == nil {
		cfg.Secrets = secretsOf(t, secretText)
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	s, err := open(t.Context(), cfg, now, func(n int64) int64 { return n - 1 })
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	t.Cleanup(func() {
		if !closed && s.ctx.Err() == nil {
			stop(s)
		}
	})
	return s
}

// stop closes a service without waiting for webhooks.
func stop(s *Service) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Close(ctx)
}

// stopIdle is stop when the queue is empty: an event that was posted but not removed would be
// posted again after the next start.
func stopIdle(t testing.TB, s *Service) {
	t.Helper()
	until(t, "empty queue", func() bool { u, err := s.queue.usage(t.Context()); return err == nil && u.batches == 0 })
	stop(s)
}

func online(user string) server.Event {
	return server.Event{Kind: server.UserOnline, Time: time.Now(), User: user}
}

func offline(user string) server.Event {
	return server.Event{Kind: server.UserOffline, Time: time.Now(), User: user}
}

func opened(user string) server.Event {
	return server.Event{Kind: server.SessionOpened, Time: time.Now(), User: user, Session: "1", Endpoint: "/ws"}
}
