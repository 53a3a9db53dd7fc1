package pusher

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Apps change while clients stay connected; those of an app that is removed are closed.
func TestSetApps(t *testing.T) {
	v, srv := start(t, []App{testApp()})
	c := dial(t, srv)
	changed, other := testApp(), testApp()
	changed.ActivityTimeout, other.ID, other.Key = 30, "other", "other"
	if err := v.SetApps([]App{changed, other}); err != nil {
		t.Fatal(err)
	}
	if got := connect(t, srv, "/app/key1?protocol=7").next().text(); !strings.Contains(got, `"activity_timeout":30`) {
		t.Errorf("a new client got %s", got)
	}
	c.say(`{"event":"pusher:ping"}`)
	c.want("pusher:pong {}")
	durable, short := testApp(), testApp()
	durable.Durable, short.Secret = []Durable{{"private-x", "channel"}}, "hidden-value"
	for _, apps := range [][]App{{}, {durable}, {short}, {other, other}} {
		if err := v.SetApps(apps); err == nil || strings.Contains(err.Error(), "hidden-value") {
			t.Errorf("%+v: %v", apps, err)
		}
	}
	if err := v.SetApps([]App{other}); err != nil {
		t.Fatal(err)
	}
	connect(t, srv, "/app/key1?protocol=7").wantClose(4001)
	c.say(`{"event":"pusher:ping"}`)
	c.wantClose(4001)
	if got := connect(t, srv, "/app/other?protocol=7").next(); got.Event != "pusher:connection_established" {
		t.Errorf("the app that was added answers %s", got)
	}
}

// A webhook that fails is repeated, with a signature over what is sent.
func TestWebhookRetry(t *testing.T) {
	app := testApp()
	bodies, tries := make(chan string, 10), 0
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Pusher-Key") != app.Key || r.Header.Get("X-Pusher-Signature") != app.sign(string(body)) {
			t.Errorf("headers %v", r.Header)
		}
		if tries++; tries == 1 {
			w.WriteHeader(500)
			return
		}
		bodies <- string(body)
	}))
	defer hook.Close()
	app.Webhooks = []Webhook{{URL: hook.URL, Events: []string{"channel_occupied", "member_added"}}}
	_, srv := start(t, []App{app})
	c := dial(t, srv)
	c.subscribe("presence-x", `{"user_id":"7"}`)
	var got hookBody
	if err := json.Unmarshal([]byte(<-bodies), &got); err != nil || got.TimeMS == 0 || len(got.Events) != 2 ||
		got.Events[0] != (hookEvent{Name: "channel_occupied", Channel: "presence-x"}) ||
		got.Events[1] != (hookEvent{Name: "member_added", Channel: "presence-x", UserID: "7"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Batches that follow one another share a connection, which has a TLS handshake in production.
func TestWebhookConnection(t *testing.T) {
	const batches = 3
	app := testApp()
	var v *Service
	var requests, conns atomic.Int32
	more := func() { v.apps.Load().byID[app.ID].webhooks.add(hookEvent{Name: "cache_miss", Channel: "cache-x"}) }
	done := make(chan struct{})
	hook := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if requests.Add(1) == batches {
			close(done)
			return
		}
		more() // before the answer, so that the sender goes on
	}))
	hook.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	hook.Start()
	defer hook.Close()
	app.Webhooks = []Webhook{{URL: hook.URL}}
	v, _ = start(t, []App{app})
	more()
	<-done
	if n := conns.Load(); n != 1 {
		t.Errorf("%d batches took %d connections", batches, n)
	}
}

// Several webhooks that do not answer delay the end of a Service as one does.
func TestCloseBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := testApp(), testApp()
		two.ID, two.Key = "app2", "key2"
		v, err := New(Config{Apps: []App{one, two}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		defer close(release)
		for _, a := range v.apps.Load().byID {
			a.webhooks.ended.Go(func() { <-release })
		}
		began := time.Now()
		v.Close()
		if took := time.Since(began); took != hookClose {
			t.Errorf("Close took %v, not %v", took, hookClose)
		}
	})
}
