package sse_test

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"fanfare/server"
)

// idleBytes returns the heap bytes of a session that nothing happens to, with its client.
func idleBytes(t *testing.T, srv *server.Server, request string) int {
	t.Helper()
	const sessions = 500
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 { // what pools hold is freed by the second collection
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	clients := make([]net.Conn, 0, sessions)
	buf := make([]byte, 4<<10)
	before := heap()
	for i := range sessions {
		c, err := net.Dial("tcp", srv.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(waitFor))
		fmt.Fprintf(c, request, i)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	after := heap()
	if n := srv.Count(); n != sessions {
		t.Fatalf("%d sessions", n)
	}
	for _, c := range clients {
		c.Close()
	}
	await(t, "the sessions end", func() bool { return srv.Count() == 0 })
	return int(after-before) / sessions
}

// An idle stream costs what an idle WebSocket costs: the same struct, and nothing beside it.
func TestIdleBytes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses memory")
	}
	for _, name := range []string{"without a store", "with a store"} {
		t.Run(name, func(t *testing.T) {
			set := func(*server.Config) {}
			if name == "with a store" {
				set = stored(t)
			}
			srv := start(t, set, func(cfg *server.Config) { cfg.HandshakeRate = 100_000 })
			ws := "GET /ws?user=u%d HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
			stream := "GET /sse?user=u%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
			idleBytes(t, srv, ws) // what the first sessions grow
			// The heap of the rest of the process moves, too: the bound must hold once.
			var of [2]int
			for range 5 {
				of = [2]int{idleBytes(t, srv, ws), idleBytes(t, srv, stream)}
				if of[1] <= of[0]+32 {
					t.Logf("%d bytes for a WebSocket with its client, %d for a stream", of[0], of[1])
					return
				}
			}
			t.Errorf("%d bytes for a WebSocket with its client, %d for a stream", of[0], of[1])
		})
	}
}

// fan is sessions that subscribe to one topic.
type fan []*client

func newFan(t *testing.T, srv *server.Server, n int, topic string) (f fan) {
	for i := range n {
		f = append(f, open(t, srv, fmt.Sprintf("/sse?user=u%d&topic=%s", i, topic)))
	}
	return f
}

// A broadcast is encoded once, and nothing is allocated for each receiver; neither for a
// message of a durable topic, although each receiver has an id of its own.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	srv := start(t, stored(t))
	const messages = 50
	text := []byte("a message of some length, so that it is not the smallest one")
	for name, push := range map[string]func(receivers int){
		"broadcast": func(receivers int) {
			if d, err := srv.Broadcast(t.Context(), server.NewMessage(server.Text, text)); err != nil || d.Receivers != receivers {
				t.Fatal(d, err)
			}
		},
		"durable topic": func(receivers int) {
			st, err := srv.PublishStored(t.Context(), "d.t", server.Entry{Op: server.Text, Payload: text})
			if err != nil || st.Receivers != receivers {
				t.Fatal(st, err)
			}
		},
	} {
		cost := map[int]float64{}
		for _, receivers := range []int{10, 210} {
			f := newFan(t, srv, receivers, "d.t")
			for _, c := range f {
				c.idOnly()
			}
			push(receivers)
			for _, c := range f {
				c.want(string(text))
			}
			// The least of several: others allocate, too, such as the store and its reads.
			least := uint64(math.MaxUint64)
			for range messages {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				push(receivers)
				runtime.ReadMemStats(&after)
				least = min(least, after.Mallocs-before.Mallocs)
			}
			cost[receivers] = float64(least)
			for _, c := range f {
				c.Close()
			}
			await(t, "the sessions end", func() bool { return srv.Count() == 0 })
		}
		t.Logf("%s: allocations by receivers %v", name, cost)
		if per := (cost[210] - cost[10]) / 200; per > 0.05 {
			t.Errorf("%s: %.2f allocations for each receiver (%v)", name, per, cost)
		}
	}
}

// Each message is one write to the connection, and so is a stored one.
func TestOneSend(t *testing.T) {
	segments := segmentsReceived
	if segments == nil {
		t.Skip("the kernel does not count segments")
	}
	srv := start(t, stored(t))
	c := open(t, srv, "/sse?user=a&topic=d.a")
	c.idOnly()
	push(t, srv, "a", "first")
	c.want("first")
	before := segments(t, c.Conn)
	const n = 20
	for i := range n {
		text := fmt.Sprintf("live %d", i)
		push(t, srv, "a", text)
		c.want(text)
		text = fmt.Sprintf("stored %d", i)
		publishDurable(t, srv, "d.a", text)
		c.want(text)
	}
	if got := segments(t, c.Conn) - before; got != 2*n {
		t.Errorf("%d segments for %d messages", got, 2*n)
	}
}

// The answer to a request, with the preamble, is one write.
func TestOneAnswer(t *testing.T) {
	if segmentsReceived == nil {
		t.Skip("the kernel does not count segments")
	}
	srv := start(t)
	c, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(waitFor))
	io.WriteString(c, "GET /sse?user=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := newParser(resp.Body)
	for p.retry == 0 {
		line, err := p.line()
		if err != nil {
			t.Fatal(err)
		}
		if len(line) > 7 {
			break
		}
	}
	if n := segmentsReceived(t, c); n != 1 {
		t.Errorf("%d segments", n)
	}
}
