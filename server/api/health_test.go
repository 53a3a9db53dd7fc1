package api

import (
	"context"
	"errors"
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
func (*troubledStore) ClockSkew() time.Duration     { return 0 }
func (*troubledStore) Epoch(store.Box) string       { return "" }

// A load balancer and a monitor ask different questions, and the operator chooses
// whether a server without its store gets clients.
func TestHealth(t *testing.T) {
	trouble := errors.New("the disk is gone")
	for _, test := range []struct {
		name    string
		without bool // ReadyWithoutStore
		trouble error
		path    string
		status  int
		body    string // or code
	}{
		{"alive", false, trouble, "/healthz", 200, `{"status":"ok"}`},
		{"ready", false, nil, "/readyz", 200, `{"status":"ready"}`},
		{"strict", false, nil, "/healthz?strict", 200, `{"status":"ok"}`},
		{"not ready", false, trouble, "/readyz", 503, "not_ready"},
		{"degraded", false, trouble, "/healthz?strict", 503, "degraded"},
		{"ready without the store", true, trouble, "/readyz", 200, `{"status":"ready","store":"the disk is gone"}`},
		{"degraded without the store", true, trouble, "/healthz?strict=1", 503, "degraded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := new(troubledStore)
			s := newAPIServer(t, server.Config{Store: st}, Config{ReadyWithoutStore: test.without}, nil)
			if test.trouble != nil {
				st.trouble.Store(&test.trouble)
			}
			got := s.call("GET", test.path, "")
			if got.status != test.status || got.body != test.body+"\n" && got.errorCode() != test.body {
				t.Errorf("got %v, want %d %s", got, test.status, test.body)
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
