// Package hooktest has what the tests of the hooks have in common: a backend, a server whose
// clients wait for it, and the signatures and counts that they check. Only tests import it.
package hooktest

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// Patience bounds what a test waits for.
const Patience = 30 * time.Second

// Secrets sign the requests.
var Secrets = [][]byte{[]byte("the-first-secret-of-the-hook"), []byte("the-second-secret-of-the-hook")}

// Fixture is a backend, and then a server with a hook that asks it.
type Fixture struct {
	URL    string // of the backend
	Logger *slog.Logger
	Server *server.Server
	Hook   Hook

	t testing.TB
}

// Hook is the hook under test.
type Hook interface {
	Close()
	EachMetric(f func(name, help, label, value string, n int64))
	Ready() error
}

// New starts a backend, which is stopped when the test has ended.
func New(t testing.TB, backend http.Handler) *Fixture {
	web := httptest.NewServer(backend)
	t.Cleanup(web.Close)
	return &Fixture{URL: web.URL, Logger: slog.New(slog.DiscardHandler), t: t}
}

// Serve starts a server with an endpoint, whose hook is closed when the test has ended.
func (f *Fixture) Serve(hook Hook, cfg server.Config, ep server.Endpoint) {
	f.t.Helper()
	cfg.Listen, cfg.Logger, cfg.Workers, cfg.Endpoints = "127.0.0.1:0", f.Logger, cmp.Or(cfg.Workers, 2), []server.Endpoint{ep}
	srv, err := server.New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		srv.Shutdown(ctx)
		hook.Close()
	})
	if err := srv.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.Server, f.Hook = srv, hook
}

// Counts returns the metrics of the hook that are not 0: results by their names, and others by
// theirs.
func (f *Fixture) Counts() map[string]int64 {
	all := make(map[string]int64)
	f.Hook.EachMetric(func(name, help, label, value string, n int64) {
		if help == "" {
			f.t.Errorf("metric %s has no help", name)
		}
		switch {
		case n == 0:
		case label == "result":
			all[value] = n
		case label == "":
			all[name] = n
		}
	})
	return all
}

// Verify checks the signatures of a request, and returns its body.
func Verify(t testing.TB, r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	id := r.Header.Get("Webhook-Id")
	var want []string
	for _, secret := range Secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", id, r.Header.Get("Webhook-Timestamp"), body)
		want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if got := r.Header.Get("Webhook-Signature"); got != strings.Join(want, " ") || !strings.HasPrefix(id, "msg_") {
		t.Errorf("the signature of %q is %q, want %q", id, got, want)
	}
	if r.Method != "POST" || r.Header.Get("Webhook-Timestamp") == "" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s with %v", r.Method, r.Header)
	}
	return body
}

// Await waits until ok.
func Await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}
