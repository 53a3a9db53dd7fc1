package webhook

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server"
)

// metricsOf returns the metrics, "name" or "name value".
func metricsOf(s *Service) map[string]float64 {
	all := make(map[string]float64)
	s.EachMetric(func(name, _, _, value string, n float64) {
		all[strings.TrimSpace(name+" "+value)] = n
	})
	return all
}

// TestOrderUnderRetries: batches that fail are posted again before later ones, with the same
// identifier and body, after growing pauses.
func TestOrderUnderRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(n int, _ *http.Request) *http.Response {
			if n%4 != 0 {
				return answer(500)
			}
			return answer(204)
		}}
		s := start(t, r, Config{})
		var want []string
		for i := range 250 {
			s.Observe(opened(fmt.Sprint("u", i%7)))
			want = append(want, fmt.Sprint("session.opened u", i%7))
			if i%50 == 0 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(time.Minute)
		var got []string
		requests := r.all()
		for i := range requests {
			first := &requests[i/4*4]
			if string(requests[i].body) != string(first.body) || requests[i].header.Get("Webhook-Id") != first.header.Get("Webhook-Id") {
				t.Fatalf("request %d is not a repetition of %d", i, i/4*4)
			}
			if i%4 == 3 {
				got = append(got, requests[i].names()...)
			} else if pause := requests[i+1].at.Sub(requests[i].at); pause != firstRetry<<(i%4) {
				t.Errorf("pause of %v after attempt %d", pause, i%4+1)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %d events: %v", len(got), got)
		}
		if m := metricsOf(s); m["delivered_total"] != 250 || m["failed_total 5xx"] != float64(len(requests)/4*3) || m["queue_batches"] != 0 || m["queue_age_seconds"] != 0 {
			t.Errorf("%v", m)
		}
		stop(s)
	})
}

// TestAnswers: what follows each kind of answer.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name     string
		first    func() *http.Response
		pause    time.Duration // until the second attempt, 0: firstRetry
		class    string
		attempts int // until a dead letter, 0: it is never one within an hour
	}{
		{"500", func() *http.Response { return answer(500) }, 0, "5xx", 0},
		{"503 with Retry-After", func() *http.Response { return answer(503, "Retry-After", "90") }, 90 * time.Second, "5xx", 0},
		{"429 with a date", func() *http.Response {
			return answer(429, "Retry-After", time.Now().Add(2*time.Minute).UTC().Format(http.TimeFormat))
		}, 2 * time.Minute, "4xx", 0},
		{"400", func() *http.Response { return answer(400) }, 0, "4xx", maxRejections},
		{"408", func() *http.Response { return answer(408) }, 0, "4xx", 0},
		{"307", func() *http.Response { return answer(307, "Location", "https://elsewhere.example.com/") }, 0, "3xx", 0},
		{"hangs", func() *http.Response { return nil }, 15*time.Second + firstRetry, "timeout", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answer: func(int, *http.Request) *http.Response { return tt.first() }}
				s := start(t, r, Config{})
				s.Observe(opened("alice"))
				time.Sleep(time.Hour - 1234*time.Millisecond) // when no attempt is in progress
				all := r.all()
				if len(all) < 2 {
					t.Fatalf("%d requests", len(all))
				}
				want := max(tt.pause, firstRetry)
				if pause := all[1].at.Sub(all[0].at); pause < want-time.Second || pause > want+time.Second {
					t.Errorf("pause of %v, want %v", pause, want)
				}
				if most := all[len(all)-1].at.Sub(all[len(all)-2].at); most > maxRetryAfter {
					t.Errorf("a pause of %v", most)
				}
				m := metricsOf(s)
				if m["failed_total "+tt.class] != float64(len(all)) {
					t.Errorf("%d requests, %v", len(all), m)
				}
				if dead := tt.attempts > 0; dead != (m["dead_letters"] == 1) || dead && len(all) != tt.attempts {
					t.Errorf("%v dead letters after %d requests", m["dead_letters"], len(all))
				}
				if age := m["queue_age_seconds"]; (tt.attempts == 0) != (age > 3500) {
					t.Errorf("age %v", age)
				}
				stop(s)
			})
		})
	}
}

// TestMaxAge: what is too old becomes a dead letter after one more attempt, and can be
// replayed.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		r := &receiver{}
		r.answer = func(int, *http.Request) *http.Response {
			if works.Load() {
				return answer(200)
			}
			return answer(502)
		}
		s := start(t, r, Config{MaxAge: time.Hour})
		for _, user := range []string{"a", "b", "c"} {
			s.Observe(opened(user))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Hour)
		m := metricsOf(s)
		if m["dead_letters"] == 0 || m["queue_batches"] != 0 || m["dead_total"] != 3 {
			t.Fatalf("%v", m)
		}
		text, err := s.AppendDead(t.Context(), nil, 0)
		if err != nil || !strings.Contains(string(text), "older than 1h0m0s: the answer is 502") || !strings.Contains(string(text), `"user":"a"`) {
			t.Fatalf("%s %v", text, err)
		}
		works.Store(true)
		if n, err := s.Replay(t.Context(), 12345); n != 0 || err != nil {
			t.Errorf("replay of nothing: %d %v", n, err)
		}
		before := len(r.all())
		if n, err := s.Replay(t.Context(), 0); n != int(m["dead_letters"]) || err != nil {
			t.Fatalf("replayed %d: %v", n, err)
		}
		time.Sleep(2 * time.Minute)
		if got := r.events(before); !slices.Equal(got, []string{"session.opened a", "session.opened b", "session.opened c"}) {
			t.Errorf("%v", got)
		}
		if m := metricsOf(s); m["dead_letters"] != 0 {
			t.Errorf("%v", m)
		}
		stop(s)
	})
}

// TestGone: after 410 a webhook gets nothing until Reconfigure, and then the number of events
// that were dropped.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(n int, _ *http.Request) *http.Response {
			if n == 1 {
				return answer(410)
			}
			return answer(200)
		}}
		cfg := Config{Hooks: []Hook{{URL: "https://a.example.com/x"}, {URL: "https://b.example.com/x", Events: []string{"user.*"}}}}
		s := start(t, r, cfg)
		for _, user := range []string{"a", "b", "c"} {
			s.Observe(opened(user))
			time.Sleep(time.Minute)
		}
		if m := metricsOf(s); len(r.all()) != 1 || m["gone"] != 1 || m["dropped_total gone"] != 2 || m["dead_letters"] != 1 {
			t.Fatalf("%d requests, %v", len(r.all()), m)
		}
		cfg.Secrets = secretsOf(t, newSecretText)
		if err := s.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		s.Observe(opened("d"))
		time.Sleep(time.Minute)
		all := r.all()
		if len(all) != 2 || all[1].Dropped != 2 || !slices.Equal(r.events(1), []string{"session.opened d"}) {
			t.Errorf("%d requests, %v", len(all), all[len(all)-1].batchDocument)
		}
		stop(s)
	})
}

// TestReconfigure: a webhook that is removed leaves dead letters, and one that is added is told
// of what happens from then on.
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ int, req *http.Request) *http.Response {
			if req.URL.Host == "old.example.com" {
				return nil
			}
			return answer(200)
		}}
		s := start(t, r, Config{Hooks: []Hook{{URL: "https://old.example.com/"}}})
		s.Observe(opened("a"))
		time.Sleep(time.Second)
		if err := s.Reconfigure(Config{Hooks: []Hook{{URL: "ftp://x"}}, Secrets: s.cfg.Secrets}); err == nil {
			t.Error("an invalid webhook is accepted")
		}
		if !s.Wants(server.SessionOpened) {
			t.Error("the error has changed the webhooks")
		}
		err := s.Reconfigure(Config{Hooks: []Hook{{URL: "https://new.example.com/", Events: []string{"topic.*"}}}, Secrets: s.cfg.Secrets})
		if err != nil {
			t.Fatal(err)
		}
		if s.Wants(server.SessionOpened) || !s.Wants(server.TopicVacated) {
			t.Error("the kinds are the former ones")
		}
		s.Observe(server.Event{Kind: server.TopicOccupied, Time: time.Now(), Topic: "t"})
		time.Sleep(time.Minute)
		if got := r.events(1); !slices.Equal(got, []string{"topic.occupied t"}) {
			t.Errorf("%v", got)
		}
		text, _ := s.AppendDead(t.Context(), nil, 0)
		if m := metricsOf(s); m["dead_letters"] != 1 || m["queue_batches"] != 0 || !strings.Contains(string(text), "the webhook was removed") {
			t.Errorf("%s %v", text, m)
		}
		if n, err := s.Replay(t.Context(), 0); n != 0 || err != nil {
			t.Errorf("replayed %d to a webhook that was removed: %v", n, err)
		}
		stop(s)
	})
}

// TestFullQueue: what does not fit is dropped and counted, and the next batch that fits says
// so.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var works atomic.Bool
		r := new(receiver)
		r.answer = func(int, *http.Request) *http.Response {
			if works.Load() {
				return answer(200)
			}
			return answer(503)
		}
		s := start(t, r, Config{MaxBytes: 1 << 20})
		const events = 200
		for i := range events { // 2 MB
			e := opened(fmt.Sprint(i))
			e.Topics = []string{strings.Repeat("x", 10_000)}
			s.Observe(e)
			synctest.Wait()
		}
		dropped := int(metricsOf(s)["dropped_total queue_full"])
		if dropped == 0 || dropped == events {
			t.Fatalf("%d of %d dropped", dropped, events)
		}
		works.Store(true)
		time.Sleep(2 * time.Minute)
		s.Observe(opened("last"))
		time.Sleep(time.Minute)
		told, got := 0, 0
		var last request
		for _, req := range r.all() {
			if req.header.Get("Webhook-Id") != last.header.Get("Webhook-Id") {
				told += req.Dropped
				got += len(req.Data.Events)
			}
			last = req
		}
		if told != dropped || got != events+1-dropped || last.Dropped != dropped {
			t.Errorf("told of %d, the last request of %d; %d dropped, %d received", told, last.Dropped, dropped, got)
		}
		stop(s)
	})
}

// TestClose posts what is observed before Close, and reports users who are gone.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		s := start(t, r, Config{OfflineGrace: time.Minute})
		s.Observe(online("a"))
		s.Observe(offline("a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.Close(ctx)
		if got := r.events(0); !slices.Equal(got, []string{"user.online a", "user.offline a"}) {
			t.Errorf("%v", got)
		}
		if s.intake.put(online("b")) {
			t.Error("an event is accepted after Close")
		}
	})
}

// TestIntakeFull: Observe never waits; what does not fit is counted.
func TestIntakeFull(t *testing.T) {
	in := intake{kick: make(chan struct{}, 1)}
	n := 0
	for in.put(server.Event{Kind: server.MessageReceived, Payload: make([]byte, 64<<10)}) {
		n++
	}
	in.put(opened("a"))
	if n < 200 || n > 256 {
		t.Errorf("%d events of 64 KiB fit", n)
	}
	events, lost := in.take()
	if len(events) < n || lost[server.MessageReceived] != 1 {
		t.Errorf("%d events, lost %v", len(events), lost)
	}
	if !in.put(opened("a")) {
		t.Error("an empty buffer takes nothing")
	}
}

// TestTLS: a certificate of an unknown authority is a failure; with CA it is verified.
func TestTLS(t *testing.T) {
	r := new(receiver)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { r.note(req) }))
	ts.Config.ErrorLog = log.New(io.Discard, "", 0)
	ts.StartTLS()
	defer ts.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ts.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	hooks := []Hook{{URL: ts.URL + "/x?token=hidden"}}
	lines := new(strings.Builder)
	s := start(t, nil, Config{Hooks: hooks, Logger: loggerTo(lines)})
	s.Observe(opened("a"))
	until(t, "failure", func() bool { return metricsOf(s)["failed_total tls"] > 0 })
	if len(r.all()) != 0 {
		t.Error("events were sent to a server that was not verified")
	}
	if err := s.Reconfigure(Config{Hooks: hooks, CA: ca, Secrets: s.cfg.Secrets}); err != nil {
		t.Fatal(err)
	}
	until(t, "delivery", func() bool { return len(r.all()) > 0 })
	stop(s)
	if text := lines.String(); strings.Contains(text, "hidden") || !strings.Contains(text, "webhook failed; retrying") {
		t.Errorf("the log: %s", text)
	}
}
