package server

import (
	"fmt"
	"runtime"
	"testing"

	"fanfare/netpoll"
)

// A handshake allocates nothing but names and the connection.
func TestHandshakeAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	srv := start(t, Config{})
	ep := srv.endpoints["/echo"]
	head := []byte(request("+User-Agent: Mozilla/5.0", "+Origin: http://server.localhost", "+Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
	h := new(handshakeBuffer)
	allocs := testing.AllocsPerRun(1000, func() {
		err := h.req.head.Parse(head)
		if err == nil {
			err = ep.check(&h.req)
		}
		if err == nil {
			_, err = ep.admit(h, Identity{})
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
	t.Logf("%v allocations", allocs)
}

// The whole of it, over sockets: beside the above the name of the user, as the
// query has it and as the registry keeps it, and tables that grow.
func TestHandshakeAllocationsOverSockets(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const n = 500
	srv := start(t, Config{Transport: netpoll.Epoll})
	one := func(clients []*client, requests [][]byte) {
		buf := make([]byte, 256)
		for i, c := range clients {
			if _, err := c.Write(requests[i]); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Conn.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
	var clients []*client
	var requests [][]byte
	for i := range 2 * n {
		clients = append(clients, connect(t, srv))
		requests = append(requests, []byte(request(fmt.Sprintf("GET /ws?user=user%d HTTP/1.1", i))))
	}
	await(t, "connections", func() bool { return srv.connections.Load() == 2*n })
	one(clients[:n], requests[:n])
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	one(clients[n:], requests[n:])
	runtime.ReadMemStats(&after)
	per := float64(after.Mallocs-before.Mallocs) / n
	if per > 2.3 {
		t.Errorf("%.2f allocations per handshake", per)
	}
	t.Logf("%.2f allocations, %d bytes per handshake", per, (after.TotalAlloc-before.TotalAlloc)/n)
}
