package server

import (
	"strings"
	"testing"
)

// Unfinished requests share a memory bound with unfinished messages, and do not count when
// their connections have ended.
func TestHeldRequests(t *testing.T) {
	ep, calls := blocking(Hooks{})
	srv, _ := startStopped(t, Config{Endpoints: []Endpoint{EchoEndpoint("/echo"), ep}})
	const most = 32 << 10
	srv.memory.Observe(0, 4*most)
	settled := func(what string, bytes int64) {
		t.Helper()
		await(t, what, func() bool { return srv.memory.Held() == bytes })
	}
	begun := "GET /echo HTTP/1.1\r\nX: " + strings.Repeat("x", 7000)
	rejected := func() bool { return srv.stats.ShortOfMemory.Load() > 0 }
	var clients []*client
	var each int64 // that one request takes
	for !rejected() && len(clients) < 100 {
		c := connect(t, srv)
		c.say(begun)
		n := int64(len(clients))
		await(t, "it is held or rejected", func() bool { return srv.memory.Held() > n*each || rejected() })
		if n == 0 {
			each = srv.memory.Held()
		}
		clients = append(clients, c)
	}
	last := clients[len(clients)-1]
	clients = clients[:len(clients)-1]
	if resp := last.answer(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, want 503 with Retry-After", resp.StatusCode)
	}
	last.wantEnd()
	if n := int64(len(clients)); each < int64(len(begun)) || n != most/each {
		t.Errorf("%d requests of %d bytes are held, which may be %d bytes", n, each, most)
	}
	// A request that needs no memory, or little, is served.
	dial(t, srv, "/echo")
	short := connect(t, srv)
	short.say(handshakeFor("/echo")[:40])
	await(t, "half of it arrives", func() bool { return halfRequests(srv) >= len(clients) })
	short.say(handshakeFor("/echo")[40:])
	if resp := short.answer(); resp.StatusCode != 101 {
		t.Errorf("a short request: status %d", resp.StatusCode)
	}
	// One that is complete at last is served, too.
	clients[0].say("\r\n" + strings.TrimPrefix(handshakeFor("/echo"), "GET /echo HTTP/1.1\r\n"))
	if resp := clients[0].answer(); resp.StatusCode != 101 {
		t.Errorf("the first request: status %d", resp.StatusCode)
	}
	for _, c := range clients {
		c.Close()
	}
	settled("what belongs to connections that are gone is not held", 0)

	// A request that an Identifier has counts as well.
	long := handshakeFor("/slow?user=a", "X: "+strings.Repeat("x", 4000))
	waits := connect(t, srv)
	waits.say(long)
	p := receive(t, "Identifier", calls)
	settled("the request is held", int64(len(long)))
	p.answer <- nil
	waits.answer()
	settled("nothing is held", 0)
	srv.memory.Observe(1, 1)
	if resp := connect(t, srv).answer(); resp.StatusCode != 503 {
		t.Errorf("status %d while memory is short", resp.StatusCode)
	}
}
