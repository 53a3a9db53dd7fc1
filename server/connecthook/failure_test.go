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
	"fanfare/server/internal/hook"
	"fanfare/server/internal/hooktest"
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
			if m := f.Counts(); m["failed"] != 1 {
				t.Errorf("metrics %v", m)
			}
			f = start(t, tt.backend, quick, func(cfg *Config, _ *server.Config, _ *server.Endpoint) { cfg.Failure = Anonymous })
			for range 2 {
				if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 101 {
					t.Errorf("anonymous: %s %q", resp.Status, body)
				}
			}
			if users := f.Server.Stats().Users; users != 2 {
				t.Errorf("%d users for two anonymous sessions", users)
			}
		})
	}
}

// TestBreaker: after failures in a row clients are answered without a request, and one
// request finds out that the backend works again.
func TestBreaker(t *testing.T) {
	backend := &hooktest.Flaky{Answer: `{"user":"alice"}`}
	f := start(t, backend.ServeHTTP, func(_ *Config, scfg *server.Config, _ *server.Endpoint) { scfg.SessionsPerUser = 1000 })
	backend.TestBreaker(t, f.Fixture, "connect_hook", "accepted", func() bool {
		resp, _ := answer(t, f.request(t, "/ws"))
		if resp.StatusCode != 101 && resp.StatusCode != 503 {
			t.Errorf("status %d", resp.StatusCode)
		}
		return resp.StatusCode == 101
	})
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
		cfg.Query, cfg.Timeout, scfg.HandshakeTimeout = []string{"who"}, hooktest.Patience, hooktest.Patience
	})
	for i := range int64(hook.TripAfter + 3) {
		c := f.request(t, "/ws?who=hasty")
		hooktest.Await(t, "the backend is asked", func() bool { return asked.Load() == i+1 })
		c.Close()
		hooktest.Await(t, "the request ends", func() bool { return ended.Load() == i+1 })
	}
	if resp, body := answer(t, f.request(t, "/ws?who=patient")); resp.StatusCode != 101 {
		t.Errorf("%s %q", resp.Status, body)
	}
	hooktest.Await(t, "all are counted", func() bool { return f.Counts()["canceled"] == hook.TripAfter+3 })
	if m := f.Counts(); m["failed"] != 0 || m["connect_hook_open"] != 0 {
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
		cfg.Query, cfg.Timeout = []string{"who"}, hooktest.Patience
		scfg.HandshakeTimeout, scfg.SessionsPerUser, scfg.Workers, scfg.Identifiers = hooktest.Patience, 100, 1, 3
	})
	early, _, _, err := ws.Dial(t.Context(), "ws://"+f.Server.Addr().String()+"/ws?who=early")
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	var waiting []net.Conn
	for range 20 {
		waiting = append(waiting, f.request(t, "/ws?who=late"))
	}
	hooktest.Await(t, "requests are under way", func() bool { return under.Load() == 3 })
	if d, err := f.Server.Push(t.Context(), "early", server.NewMessage(server.Text, []byte("meanwhile"))); err != nil || d.Receivers != 1 {
		t.Errorf("pushed to %+v, %v", d, err)
	}
	early.SetDeadline(time.Now().Add(hooktest.Patience))
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
	hooktest.Await(t, "the requests of clients that left end", func() bool { return ended.Load() > 0 && under.Load() == 3 })
	close(release)
	for _, c := range waiting[10:] {
		if resp, body := answer(t, c); resp.StatusCode != 101 {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
	hooktest.Await(t, "the canceled requests are counted", func() bool { return f.Counts()["canceled"] > 0 })
	if m := f.Counts(); m["failed"] != 0 || m["connect_hook_requests"] != 0 {
		t.Errorf("metrics %v", m)
	}
}
