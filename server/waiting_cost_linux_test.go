package server

import (
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// browserRequest is a handshake of a browser, with a session cookie: 670 bytes.
var browserRequest = handshakeFor("/slow?user=alice",
	"Pragma: no-cache", "Cache-Control: no-cache", "Origin: http://localhost", "Accept-Encoding: gzip, deflate, br, zstd",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
	"Accept-Language: en-US,en;q=0.9", "Cookie: session="+strings.Repeat("s", 160), "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")

// TestWaitingHandshakeCost: a handshake that waits for an Identifier costs no goroutine and
// at most 2 KiB, its session and the copy of its request included. The clients are bare
// descriptors, so that the memory is the server's.
func TestWaitingHandshakeCost(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory")
	}
	const n, most = 5000, 2 << 10
	ep, calls := blocking(Hooks{})
	srv := start(t, Config{Identifiers: 8, Endpoints: []Endpoint{ep}})
	first := connect(t, srv) // what the first connection allocates
	first.say(browserRequest)
	receive(t, "Identifier", calls)

	measure := func() (bytes int64, goroutines int) {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what was in pools
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
	}
	addr := netip.MustParseAddrPort(srv.Addr().String())
	before, goroutinesBefore := measure()
	fds := make([]int, 0, n)
	t.Cleanup(func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
		await(t, "the connections have ended", func() bool { return srv.connections.Load() <= 1 })
	})
	request := []byte(browserRequest)
	for range n {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Write(fd, request); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all wait", func() bool { return beingIdentified(srv) == n+1 })
	after, goroutinesAfter := measure()
	each := (after - before) / n
	t.Logf("%d bytes for each of %d handshakes of %d bytes, %d more goroutines", each, n, len(request), goroutinesAfter-goroutinesBefore)
	if each > most {
		t.Errorf("%d bytes each, want at most %d", each, most)
	}
	// Seven more Identifiers, and workers that the burst has started.
	if more := goroutinesAfter - goroutinesBefore; more > 100 {
		t.Errorf("%d more goroutines", more)
	}
}
