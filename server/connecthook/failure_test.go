package connecthook

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
	"fanfare/server/internal/breaker"
)

// TestFailure: what a backend that does not work means for clients.
func TestFailure(t *testing.T) {
	for _, tt := range []struct {
		name    string
		backend http.HandlerFunc
	}{
		{"500", answers(500, `{"user":"alice"}`)},
		{"403 of something on the way", answers(403, `{"user":"alice"}`)},
		{"201", answers(201, `{"user":"alice"}`)},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}},
		{"breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			quick := func(cfg *Config, _ *server.Config, _ *server.Endpoint) {
				if tt.name == "hangs" {
					cfg.Timeout = 50 * time.Millisecond
				}
			}
			f := start(t, tt.backend, quick)
			if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s %q", resp.Status, body)
			}
			if m := f.metrics(); m["connect_hook_total failed"] != 1 {
				t.Errorf("metrics %v", m)
			}
			f = start(t, tt.backend, quick, func(cfg *Config, _ *server.Config, _ *server.Endpoint) { cfg.Failure = Anonymous })
			for range 2 {
				if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 101 {
					t.Errorf("anonymous: %s %q", resp.Status, body)
				}
			}
			if users := f.srv.Stats().Users; users != 2 {
				t.Errorf("%d users for two anonymous sessions", users)
			}
		})
	}
}

// TestBreaker: after failures in a row clients are answered without a request, and one
// request finds out that the backend works again.
func TestBreaker(t *testing.T) {
	var requests atomic.Int64
	var works atomic.Bool
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if works.Load() {
			answers(200, `{"user":"alice"}`)(w, r)
			return
		}
		w.WriteHeader(500)
	}, func(_ *Config, scfg *server.Config, _ *server.Endpoint) { scfg.SessionsPerUser = 1000 })
	const more = 200
	for range breaker.TripAfter + more {
		if resp, _ := answer(t, f.request(t, "/ws")); resp.StatusCode != 503 {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	// While it is open one request in a while finds out whether the backend works.
	m := f.metrics()
	if n := requests.Load(); n < breaker.TripAfter || m["connect_hook_total failed"] != n || m["connect_hook_total skipped"] != breaker.TripAfter+more-n || m["connect_hook_total skipped"] == 0 {
		t.Errorf("%d requests, metrics %v", n, m)
	}
	await(t, "Ready says so", func() bool {
		answer(t, f.request(t, "/ws"))
		err := f.hook.Ready()
		return err != nil && strings.Contains(err.Error(), "clients are rejected with 503 until it answers")
	})
	works.Store(true)
	await(t, "it works again", func() bool {
		resp, _ := answer(t, f.request(t, "/ws"))
		return resp.StatusCode == 101
	})
	if m := f.metrics(); m["connect_hook_open"] != 0 || m["connect_hook_total accepted"] != 1 || f.hook.Ready() != nil {
		t.Errorf("metrics %v, %v", m, f.hook.Ready())
	}
}

// TestClientsLeave: clients that leave while the backend works on their answers are not
// failures of the backend.
func TestClientsLeave(t *testing.T) {
	var asked, ended atomic.Int64
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.Contains(string(body), "patient") {
			io.WriteString(w, `{"user":"patient"}`)
			return
		}
		asked.Add(1)
		<-r.Context().Done()
		ended.Add(1)
	}, func(cfg *Config, scfg *server.Config, _ *server.Endpoint) {
		cfg.Query, cfg.Timeout, scfg.HandshakeTimeout = []string{"who"}, patience, patience
	})
	for i := range int64(breaker.TripAfter + 3) {
		c := f.request(t, "/ws?who=hasty")
		await(t, "the backend is asked", func() bool { return asked.Load() == i+1 })
		c.Close()
		await(t, "the request ends", func() bool { return ended.Load() == i+1 })
	}
	if resp, body := answer(t, f.request(t, "/ws?who=patient")); resp.StatusCode != 101 {
		t.Errorf("%s %q", resp.Status, body)
	}
	await(t, "all are counted", func() bool { return f.metrics()["connect_hook_total canceled"] == breaker.TripAfter+3 })
	if m := f.metrics(); m["connect_hook_total failed"] != 0 || m["connect_hook_open"] != 0 {
		t.Errorf("metrics %v", m)
	}
}

// TestHanging: while the backend hangs, open sessions notice nothing, a client that leaves
// ends its request, and no more requests are under way than the configuration says.
func TestHanging(t *testing.T) {
	release := make(chan struct{})
	var under, most, ended atomic.Int64
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if strings.Contains(string(body), "early") {
			io.WriteString(w, `{"user":"early"}`)
			return
		}
		n := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		select {
		case <-release:
			io.WriteString(w, `{"user":"late"}`)
		case <-r.Context().Done():
			ended.Add(1)
		}
	}, func(cfg *Config, scfg *server.Config, ep *server.Endpoint) {
		cfg.Query, cfg.Timeout = []string{"who"}, patience
		scfg.HandshakeTimeout, scfg.SessionsPerUser, scfg.Workers, scfg.Identifiers = patience, 100, 1, 3
	})
	early, _, _, err := ws.Dial(t.Context(), "ws://"+f.srv.Addr().String()+"/ws?who=early")
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	var waiting []net.Conn
	for range 20 {
		waiting = append(waiting, f.request(t, "/ws?who=late"))
	}
	await(t, "requests are under way", func() bool { return under.Load() == 3 })
	if d, err := f.srv.Push(t.Context(), "early", server.NewMessage(server.Text, []byte("meanwhile"))); err != nil || d.Receivers != 1 {
		t.Errorf("pushed to %+v, %v", d, err)
	}
	early.SetDeadline(time.Now().Add(patience))
	if msg, _, err := wsutil.ReadServerData(early); string(msg) != "meanwhile" {
		t.Errorf("received %q, %v", msg, err)
	}
	// Later the backend may count a request that was canceled and its successor.
	if n := most.Load(); n > 3 {
		t.Errorf("%d requests at a time, want 3", n)
	}
	for _, c := range waiting[:10] { // some are asked about, others wait
		c.Close()
	}
	await(t, "the requests of clients that left end", func() bool { return ended.Load() > 0 && under.Load() == 3 })
	close(release)
	for _, c := range waiting[10:] {
		if resp, body := answer(t, c); resp.StatusCode != 101 {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
	await(t, "the canceled requests are counted", func() bool { return f.metrics()["connect_hook_total canceled"] > 0 })
	if m := f.metrics(); m["connect_hook_total failed"] != 0 || m["connect_hook_requests"] != 0 {
		t.Errorf("metrics %v", m)
	}
}
