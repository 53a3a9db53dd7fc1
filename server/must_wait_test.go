package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fanfare/netpoll"
)

// undecided is an Identifier that knows alice at once, and waits for all others until
// release is closed.
func undecided(release <-chan struct{}) Identifier {
	return func(ctx context.Context, r *Request) (Identity, error) {
		user := r.Query("user")
		if user == "alice" {
			return Identity{User: user}, nil
		}
		if !r.MayBlock() {
			return Identity{}, fmt.Errorf("%w for %s", ErrMustWait, user)
		}
		select {
		case <-release:
			return Identity{User: user}, nil
		case <-ctx.Done():
			return Identity{}, ctx.Err()
		}
	}
}

// TestMustWait: a NonBlocking Identifier that has to wait after all holds up nothing else.
func TestMustWait(t *testing.T) {
	overTransports(t, func(t *testing.T, kind netpoll.Transport) {
		release := make(chan struct{})
		srv := start(t, Config{Transport: kind, Workers: 1, Identifiers: 1, Endpoints: []Endpoint{{Path: "/a", NonBlocking: true, Identifier: undecided(release)}}})
		var waiting []*client
		for i := range 3 {
			c := connect(t, srv)
			c.say(handshakeFor(fmt.Sprint("/a?user=u", i)))
			waiting = append(waiting, c)
		}
		await(t, "they wait", func() bool { return beingIdentified(srv) == 3 })
		dial(t, srv, "/a?user=alice")
		close(release)
		for i, c := range waiting {
			if resp := c.answer(); resp.StatusCode != 101 {
				t.Errorf("%d: status %d", i, resp.StatusCode)
			}
		}
		await(t, "nothing is held", func() bool { return srv.memory.Held() == 0 && beingIdentified(srv) == 0 })
	})
}

// TestMustWaitMount: on a Mount the Identifier is called again on the same goroutine.
func TestMustWaitMount(t *testing.T) {
	release := make(chan struct{})
	close(release)
	srv := start(t, Config{})
	for _, tt := range []struct {
		name   string
		id     Identifier
		status int
	}{
		{"waits", undecided(release), 101},
		{"never answers", func(context.Context, *Request) (Identity, error) { return Identity{}, ErrMustWait }, 500},
	} {
		m, err := srv.Mount(Endpoint{NonBlocking: true, Identifier: tt.id})
		if err != nil {
			t.Fatal(err)
		}
		web := httptest.NewServer(m)
		defer web.Close()
		r, err := http.NewRequest(http.MethodGet, web.URL+"/?user=bob", nil)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines("Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			r.Header.Set(name, value)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, tt.status)
		}
	}
}

// TestIdentifierQueue: handshakes beyond Identifiers and IdentifierQueue are rejected.
func TestIdentifierQueue(t *testing.T) {
	ep, calls := blocking(Hooks{})
	srv := start(t, Config{Identifiers: 1, IdentifierQueue: 2, Endpoints: []Endpoint{ep}})
	var waiting []*client
	for i := range 3 {
		c := connect(t, srv)
		c.say(handshakeFor(fmt.Sprint("/slow?user=", i)))
		waiting = append(waiting, c)
		await(t, "it waits", func() bool { return beingIdentified(srv) == i+1 })
	}
	c := connect(t, srv)
	c.say(handshakeFor("/slow?user=late"))
	if resp := c.answer(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	if n := srv.Stats().Limited["identifications"]; n != 1 {
		t.Errorf("%d are counted", n)
	}
	for range 3 {
		receive(t, "Identifier", calls).answer <- nil
	}
	for i, c := range waiting {
		if resp := c.answer(); resp.StatusCode != 101 {
			t.Errorf("%d: status %d", i, resp.StatusCode)
		}
	}
	await(t, "nothing is held", func() bool { return srv.memory.Held() == 0 && beingIdentified(srv) == 0 })
	c = connect(t, srv)
	c.say(handshakeFor("/slow?user=again"))
	receive(t, "Identifier", calls).answer <- nil
	if resp := c.answer(); resp.StatusCode != 101 {
		t.Errorf("with room again: status %d", resp.StatusCode)
	}
}
