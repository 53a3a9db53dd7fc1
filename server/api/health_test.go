package api

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/store"
)

// troubledStore is a store that is not available. Nothing is stored in it.
type troubledStore struct {
	store.Store
	trouble atomic.Pointer[error]
}

func (s *troubledStore) Ready() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}
func (*troubledStore) OnRecover(func())             {}
func (*troubledStore) RenewInterval() time.Duration { return time.Hour }
func (*troubledStore) Epoch(store.Box) string       { return "" }
func (*troubledStore) Stats() store.Stats {
	return store.Stats{InboxBytes: 5, MaxInboxBytes: 10, PositionBytes: 3}
}

// fakeCluster is a cluster of three nodes. missing says which of the others do not answer.
type fakeCluster struct {
	server.Cluster
	trouble error
	missing server.Coverage // of every answer
}

func (*fakeCluster) Join(server.Node) error                    { return nil }
func (*fakeCluster) Hold(server.Target)                        {}
func (*fakeCluster) Release(server.Target)                     {}
func (*fakeCluster) Sync(context.Context, server.Target) error { return nil }
func (*fakeCluster) Check(*server.Command) error               { return nil }
func (*fakeCluster) Shared(server.Target) bool                 { return true }
func (*fakeCluster) Name() string                              { return "node-1" }
func (*fakeCluster) Nodes() int                                { return 3 }
func (c *fakeCluster) Ready() error                            { return c.trouble }
func (*fakeCluster) Leave()                                    {}
func (*fakeCluster) EachMetric(f func(n, h, l, v string, x int64)) {
	f("connects_total", "Connections.", "", "", 2)
	f("dropped_total", "Dropped.", "reason", "expired", 3)
}
func (c *fakeCluster) Ask(context.Context, server.Target, *server.Command) (server.Answer, error) {
	return server.Answer{Coverage: c.missing}, nil
}

// Parts of the program are degraded like those of the server. Only one without which no client
// can connect makes it not ready.
func TestHealthOfParts(t *testing.T) {
	var ready, usable error
	s := newAPIServer(t, server.Config{}, Config{Parts: []Part{
		{Name: "connect hook", Ready: func() error { return ready }},
		{Name: "keys", Ready: func() error { return usable }, Usable: func() error { return usable }},
	}}, nil)
	expect := func(path string, status int, body string) {
		t.Helper()
		if got := s.call("GET", path, ""); got.status != status || !strings.Contains(got.body, body) {
			t.Errorf("%s: %d %s, want %d %s", path, got.status, got.body, status, body)
		}
	}
	expect("/readyz", 200, `{"status":"ready"}`)
	expect("/metrics", 200, `fanfare_degraded{part="connect hook"} 0`)
	ready = errors.New("the backend has failed")
	expect("/readyz", 200, `{"status":"ready","degraded":[{"part":"connect hook","reason":"the backend has failed"}]}`)
	expect("/healthz", 200, `{"status":"ok"}`)
	expect("/healthz?strict", 503, "connect hook: the backend has failed")
	expect("/metrics", 200, `fanfare_degraded{part="connect hook"} 1`)
	expect("/metrics", 200, `fanfare_degraded{part="keys"} 0`)
	usable = errors.New("no keys")
	expect("/readyz", 503, "keys: no keys")
	expect("/healthz?strict", 503, "connect hook: the backend has failed; keys: no keys")
	expect("/metrics", 200, `fanfare_degraded{part="keys"} 1`)
}

// A load balancer and a monitor ask different questions, and the operator chooses
// whether a server without its store gets clients.
func TestHealth(t *testing.T) {
	disk, nats := errors.New("the disk is gone"), errors.New("no connection")
	for _, test := range []struct {
		name           string
		needs          bool // ReadyNeedsStore
		store, cluster error
		path           string
		status         int
		body           string // or code
	}{
		{"alive", false, disk, nats, "/healthz", 200, `{"status":"ok"}`},
		{"ready", false, nil, nil, "/readyz", 200, `{"status":"ready"}`},
		{"strict", false, nil, nil, "/healthz?strict", 200, `{"status":"ok"}`},
		{"strict is not wanted", false, disk, nil, "/healthz?strict=false", 200, `{"status":"ok"}`},
		{"ready without the store", false, disk, nil, "/readyz", 200, `{"status":"ready","degraded":[{"part":"store","reason":"the disk is gone"}]}`},
		{"ready without the cluster", true, nil, nats, "/readyz", 200, `{"status":"ready","degraded":[{"part":"cluster","reason":"no connection"}]}`},
		{"ready without both", false, disk, nats, "/readyz", 200, `{"status":"ready","degraded":[{"part":"store","reason":"the disk is gone"},{"part":"cluster","reason":"no connection"}]}`},
		{"not ready", true, disk, nil, "/readyz", 503, "not_ready"},
		{"store degraded", false, disk, nil, "/healthz?strict", 503, "degraded"},
		{"cluster degraded", false, nil, nats, "/healthz?strict=1", 503, "degraded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := new(troubledStore)
			s := newAPIServer(t, server.Config{Store: st, Cluster: &fakeCluster{trouble: test.cluster}}, Config{ReadyNeedsStore: test.needs}, nil)
			if test.store != nil {
				st.trouble.Store(&test.store)
			}
			got := s.call("GET", test.path, "")
			if got.status != test.status || got.body != test.body+"\n" && got.errorCode() != test.body {
				t.Errorf("got %v, want %d %s", got, test.status, test.body)
			}
			metrics := s.call("GET", "/metrics", "").body
			for part, err := range map[string]error{"store": test.store, "cluster": test.cluster} {
				want := "fanfare_" + part + "_ready 1\n"
				if err != nil {
					want = "fanfare_" + part + "_ready 0\n"
				}
				if !strings.Contains(metrics, want) {
					t.Errorf("the metrics lack %s", want)
				}
			}
		})
	}
}

// A server that is about to leave is not ready while it still serves.
func TestNotReadyWhileLeaving(t *testing.T) {
	s := newAPIServer(t, server.Config{DrainDelay: time.Hour}, Config{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Drain(ctx)
	}()
	for deadline := time.Now().Add(patience); s.Status() != server.Leaving; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not leave")
		}
	}
	if got := s.call("GET", "/readyz", ""); got.status != 503 || got.errorCode() != "not_ready" {
		t.Errorf("got %v", got)
	}
	if got := s.call("GET", "/healthz", ""); got.status != 200 {
		t.Errorf("got %v", got)
	}
	cancel()
	<-done
}
