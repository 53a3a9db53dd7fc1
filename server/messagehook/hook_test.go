package messagehook

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/server/internal/hooktest"
	"fanfare/server/internal/inbound"

	"github.com/gobwas/ws"
)

// TestMessages: the backend gets what a client sends, and who it is, and the client its answer.
func TestMessages(t *testing.T) {
	got := make(chan Message, 1)
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		m := verify(t, r)
		got <- m
		switch {
		case m.Base64 != nil:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Write(append(*m.Base64, 0xff))
		case *m.Text == "nothing":
			w.WriteHeader(http.StatusNoContent)
		case *m.Text == "empty":
		default:
			io.WriteString(w, `{"heard":"`+*m.Text+`"}`)
		}
	})
	v1, plain := f.dial(t, "alice", "fanfare.v1"), f.dial(t, "bob", "")
	ids := make(map[string]bool)
	for _, tt := range []struct {
		c       *client
		op      ws.OpCode
		say     string
		user    string
		request string
		payload string // as Go prints it
		want    string // empty: nothing
	}{
		{v1, ws.OpText, `{"type":"request","id":"7","text":"hi"}`, "alice", "7", `text "hi"`, `{"type":"reply","id":"7","text":"{\"heard\":\"hi\"}"}`},
		{v1, ws.OpText, `{"type":"request","base64":"/w=="}`, "alice", "", `binary "\xff"`, `{"type":"reply","base64":"//8="}`},
		{v1, ws.OpText, `{"type":"request","base64":""}`, "alice", "", `binary ""`, `{"type":"reply","base64":"/w=="}`},
		{v1, ws.OpText, `{"type":"request","id":"8","text":"nothing"}`, "alice", "8", `text "nothing"`, `{"type":"reply","id":"8","text":""}`},
		{plain, ws.OpText, "nothing", "bob", "", `text "nothing"`, ""},
		{plain, ws.OpText, "empty", "bob", "", `text "empty"`, ""},
		{plain, ws.OpText, "", "bob", "", `text ""`, `{"heard":""}`},
		{plain, ws.OpBinary, "\xfe", "bob", "", `binary "\xfe"`, "\xfe\xff"},
	} {
		tt.c.send(tt.op, tt.say)
		var m Message
		select {
		case m = <-got:
		case <-time.After(hooktest.Patience):
			t.Fatalf("%q did not reach the backend", tt.say)
		}
		payload := "none"
		if m.Text != nil {
			payload = fmt.Sprintf("text %q", *m.Text)
		} else if m.Base64 != nil {
			payload = fmt.Sprintf("binary %q", *m.Base64)
		}
		sessions := f.Server.Sessions(t.Context(), tt.user)
		if len(sessions.Sessions) != 1 {
			t.Fatalf("%+v", sessions)
		}
		if m.User != tt.user || m.Request != tt.request || m.Endpoint != "/ws" || m.Session != sessions.Sessions[0].ID || payload != tt.payload || ids[m.ID] {
			t.Errorf("%q: the backend got %+v with %s, want %s", tt.say, m, payload, tt.payload)
		}
		ids[m.ID] = true
		if tt.want != "" {
			if answer := tt.c.read(); answer != tt.want {
				t.Errorf("%q is answered by %s, want %s", tt.say, answer, tt.want)
			}
		}
	}
	if want := map[string]int64{"answered": 5, "empty": 3}; !maps.Equal(f.Counts(), want) {
		t.Errorf("counted %v, want %v", f.Counts(), want)
	}
}

// TestAnswers: what the backend may answer, and what a client is told.
func TestAnswers(t *testing.T) {
	var status atomic.Int64
	var body, kind atomic.Value
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind.Load().(string))
		w.Header().Set("Location", "/other")
		w.WriteHeader(int(status.Load()))
		io.WriteString(w, body.Load().(string))
	})
	c := f.dial(t, "alice", "fanfare.v1")
	for _, tt := range []struct {
		status     int
		kind, body string
		want       string
	}{
		{200, "text/plain", "ok", `{"type":"reply","id":"7","text":"ok"}`},
		{422, "text/plain; charset=utf-8", " no such room\n", `{"type":"error","id":"7","code":"rejected","message":"no such room"}`},
		{404, "text/html", "<p>", `{"type":"error","id":"7","code":"rejected","message":"Not Found"}`},
		{499, "text/plain", strings.Repeat("x", inbound.MaxText+1), `{"type":"error","id":"7","code":"rejected","message":"the backend has rejected the message"}`},
		{200, "text/plain", "\xff", `{"type":"error","id":"7","code":"bad_answer"`},
		{200, "text/plain", strings.Repeat("x", inbound.MaxAnswer+1), `{"type":"error","id":"7","code":"unavailable"`},
		{429, "text/plain", "slow down", `{"type":"error","id":"7","code":"unavailable"`},
		{500, "text/plain", "", `{"type":"error","id":"7","code":"unavailable"`},
		{302, "text/plain", "", `{"type":"error","id":"7","code":"unavailable"`},
		{201, "text/plain", "made", `{"type":"error","id":"7","code":"unavailable"`},
	} {
		status.Store(int64(tt.status))
		kind.Store(tt.kind)
		body.Store(tt.body)
		if got := c.ask("x"); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%d %.20q: the client is told %s, want %s", tt.status, tt.body, got, tt.want)
		}
	}
	if want := map[string]int64{"answered": 1, "rejected": 3, "invalid": 1, "failed": 5}; !maps.Equal(f.Counts(), want) {
		t.Errorf("counted %v, want %v", f.Counts(), want)
	}
}

// TestHanging: a backend that hangs for one session costs others nothing, and order is kept.
func TestHanging(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan string, 10)
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		m := verify(t, r)
		if entered <- *m.Text; *m.Text == "hang" {
			<-release
		}
		io.WriteString(w, *m.Text)
	}, func(cfg *Config) { cfg.Timeout = hooktest.Patience })
	slow, quick := f.dial(t, "slow", "fanfare.v1"), f.dial(t, "quick", "fanfare.v1")
	slow.send(ws.OpText, `{"type":"request","id":"1","text":"hang"}`)
	slow.send(ws.OpText, `{"type":"request","id":"2","text":"after"}`)
	if first := <-entered; first != "hang" {
		t.Errorf("the backend got %q first", first)
	}
	if got := quick.ask("x"); got != `{"type":"reply","id":"7","text":"x"}` || f.Counts()["message_hook_requests"] < 1 {
		t.Errorf("the other session is told %s, with %v", got, f.Counts())
	}
	close(release)
	for _, want := range []string{`{"type":"reply","id":"1","text":"hang"}`, `{"type":"reply","id":"2","text":"after"}`} {
		if got := slow.read(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestTimeout: a client learns that its request may have been received.
func TestTimeout(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else the end of the request is not noticed
		<-r.Context().Done()
	}, func(cfg *Config) { cfg.Timeout = 10 * time.Millisecond })
	c := f.dial(t, "alice", "fanfare.v1")
	if got := c.ask("x"); !strings.HasPrefix(got, `{"type":"error","id":"7","code":"timeout"`) {
		t.Errorf("got %s", got)
	}
	if n := f.Counts()["timeout"]; n != 1 {
		t.Errorf("%d timeouts, want 1", n)
	}
}

// TestBreaker: after failures in a row requests are rejected without the backend, until it
// works again.
func TestBreaker(t *testing.T) {
	backend := &hooktest.Flaky{}
	f := start(t, backend.ServeHTTP)
	c := f.dial(t, "alice", "fanfare.v1")
	backend.TestBreaker(t, f.Fixture, "message_hook", "empty", func() bool {
		got := c.ask("x")
		if got != `{"type":"reply","id":"7","text":""}` && !strings.Contains(got, `"code":"unavailable"`) {
			t.Errorf("got %s", got)
		}
		return strings.Contains(got, "reply")
	})
}

// TestMetricsFromTheStart: each result is counted from 0 on.
func TestMetricsFromTheStart(t *testing.T) {
	h, err := New(Config{URL: "http://127.0.0.1/", Secrets: hooktest.Secrets})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	h.EachMetric(func(name, _, _, value string, n int64) {
		if names = append(names, name+value); n != 0 {
			t.Errorf("%s is %d", name, n)
		}
	})
	if len(names) != 8+2 || slices.Contains(names, "message_hook_total") {
		t.Errorf("metrics %q", names)
	}
}
