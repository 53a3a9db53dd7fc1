package webhook

import (
	"context"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/internal/natstest"
)

// TestOutsideNATS: the queue is in a NATS that comes after the service, and a service of the
// same node continues it; one of another node does not touch it.
func TestOutsideNATS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	url := ln.Addr().String()
	ln.Close()
	cfg := Config{URL: url, Hooks: []Hook{{URL: "https://app.example.com/", Events: []string{"session.*"}}}}
	hangs := &receiver{answer: func(int, *http.Request) *http.Response { return nil }}
	s := start(t, hangs, cfg)
	s.Observe(opened("a"))
	natstest.Start(t, natsserver.Options{Port: port, JetStream: true})
	until(t, "attempt", func() bool { return len(hangs.all()) > 0 })
	stop(s)

	other := new(receiver)
	otherCfg := cfg
	otherCfg.Node, otherCfg.Secrets, otherCfg.Logger, otherCfg.transport = "n2", secretsOf(t, secretText), quiet, other
	o, err := Open(t.Context(), otherCfg)
	if err != nil {
		t.Fatal(err)
	}
	o.Observe(opened("b"))
	until(t, "delivery", func() bool { return len(other.events(0)) > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o.Close(ctx)
	if got := other.events(0); !slices.Equal(got, []string{"session.opened b"}) {
		t.Errorf("%v", got)
	}

	r := new(receiver)
	s = start(t, r, cfg)
	until(t, "delivery", func() bool { return len(r.events(0)) > 0 })
	if got := r.events(0); !slices.Equal(got, []string{"session.opened a"}) {
		t.Errorf("%v", got)
	}
	stop(s)
}
