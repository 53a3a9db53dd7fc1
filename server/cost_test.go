package server

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"fanfare/frame"
	"fanfare/netpoll"
)

// An idle connection is its Session. What is in it, and why.
func TestSessionSize(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the figures are those of 64 bits")
	}
	var s Session
	fields := []struct {
		name string
		got  uintptr
		want uintptr
	}{
		{"conn: descriptor, generation, turn, lock, queue", unsafe.Sizeof(s.conn), 64},
		{"state: phase, code, deflate window", unsafe.Sizeof(s.state), 4},
		{"heard: the heartbeat's reference", unsafe.Sizeof(s.heard), 4},
		{"entry: name (16), next session of the user, topics", unsafe.Sizeof(s.entry), 32},
		{"timer: next, previous, due", unsafe.Sizeof(s.timer), 24},
		{"ep: hooks and rules", unsafe.Sizeof(s.ep), 8},
		{"ext: nil for most", unsafe.Sizeof(s.ext), 8},
		{"dec: nil between frames", unsafe.Sizeof(s.dec), 8},
		{"source: for the limits per address", unsafe.Sizeof(s.source), 8},
		{"opened: when, for the API", unsafe.Sizeof(s.opened), 4},
		{"pinged: whether a ping is unanswered", unsafe.Sizeof(s.pinged), 4},
	}
	var sum uintptr
	for _, f := range fields {
		if f.got != f.want {
			t.Errorf("%s: %d bytes, not %d", f.name, f.got, f.want)
		}
		sum += f.got
	}
	if size := unsafe.Sizeof(s); size != sum {
		t.Errorf("a Session is %d bytes, its fields are %d", size, sum)
	}
}

// mallocs is how many allocations the whole process makes during f.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// A small echo allocates nothing, from the poller to the poller.
func TestEchoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		for _, size := range []int{16, 128, 1000} {
			c := dial(t, srv, "/echo")
			payload := bytes.Repeat([]byte("x"), size)
			message, answer := masked(Text, true, payload), make([]byte, frame.HeaderSize(size)+size)
			echo := func(n int) {
				for i := range n {
					if i%100 == 0 {
						c.Conn.SetDeadline(time.Now().Add(30 * time.Second))
					}
					if _, err := c.Conn.Write(message); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(c.Conn, answer); err != nil {
						t.Fatal(err)
					}
				}
			}
			echo(100)
			const echoes = 20_000
			// The clock and the runtime allocate now and then.
			if n := mallocs(func() { echo(echoes) }); n > echoes/100 {
				t.Errorf("%d allocations for %d echoes of %d bytes", n, echoes, size)
			}
		}
	})
}

// A broadcast allocates a few times as a whole, and nothing per receiver.
func TestBroadcastAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const receivers, messages = 200, 100
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		var clients []*client
		for i := range receivers {
			clients = append(clients, dial(t, srv, fmt.Sprintf("/ws?user=u%d&topic=t", i)))
		}
		payload := bytes.Repeat([]byte("x"), 128)
		buf := make([]byte, messages*(frame.HeaderSize(len(payload))+len(payload)))
		ways := map[string]func() int{
			"Broadcast": func() int { return broadcast(srv, Text, payload) },
			"Publish":   func() int { return publish(srv, "t", Text, payload) },
		}
		for name, send := range ways {
			send()
			for _, c := range clients {
				c.want(Text, string(payload))
			}
			n := mallocs(func() {
				for range messages {
					if n := send(); n != receivers {
						t.Fatalf("%s reached %d", name, n)
					}
				}
			})
			for _, c := range clients {
				if _, err := io.ReadFull(c.br, buf); err != nil {
					t.Fatal(err)
				}
			}
			if n > messages*20 {
				t.Errorf("%s: %d allocations for %d messages to %d receivers", name, n, messages, receivers)
			}
			t.Logf("%s: %.1f allocations a message", name, float64(n)/messages)
		}
	})
}

// A connection costs no goroutine, except on the transport that is about that.
func TestGoroutinesPerConnection(t *testing.T) {
	const connections = 50
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport})
		dial(t, srv, "/ws?user=a")
		before := len(goroutines())
		for i := range connections {
			dial(t, srv, fmt.Sprint("/ws?user=u", i))
		}
		want := 0
		if transport == netpoll.Goroutine {
			want = connections
		}
		if n := len(goroutines()) - before; n > want {
			t.Errorf("%d goroutines more for %d connections", n, connections)
		}
	})
}
