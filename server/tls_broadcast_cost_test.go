package server

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"testing"

	"fanfare/frame"
	"fanfare/netpoll"
)

// A broadcast to sessions with TLS 1.3 is sealed for each of them, and allocates a few times as a whole and nothing per
// receiver.
func TestTLSBroadcastAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const receivers, messages = 200, 100
	for _, kind := range transports {
		if kind == netpoll.Goroutine {
			continue // serves TLS with a tls.Conn
		}
		t.Run(kind.String(), func(t *testing.T) {
			srv := start(t, Config{Transport: kind, TLS: NewTLS(serverTLS(t))})
			var clients []*leanClient
			for i := range receivers {
				log := new(bytes.Buffer)
				cfg := clientTLS(tls.VersionTLS13)
				cfg.KeyLogWriter = log
				l := lean(t, connectTLS(t, srv, cfg), log.String())
				l.Write([]byte(handshakeFor(fmt.Sprintf("/ws?user=u%d&topic=t", i))))
				n, err := l.raw.Read(l.buf)
				if err != nil {
					t.Fatal(err)
				}
				if plain, _, err := l.rec.Open(l.busy, 1, l.buf[:n]); err != nil || !bytes.HasPrefix(plain, []byte("HTTP/1.1 101 ")) {
					t.Fatalf("%q, %v", plain, err)
				}
				clients = append(clients, l)
			}
			payload := bytes.Repeat([]byte("x"), 128)
			length := frame.HeaderSize(len(payload)) + len(payload)
			for name, send := range map[string]func() int{
				"Broadcast": func() int { return broadcast(srv, Text, payload) },
				"Publish":   func() int { return publish(srv, "t", Text, payload) },
			} {
				all := func(messages int) {
					for range messages {
						if n := send(); n != receivers {
							t.Fatalf("%s reached %d", name, n)
						}
					}
				}
				read := func(messages int) {
					for _, l := range clients {
						l.read(t, messages*length)
					}
				}
				all(3) // the second use of a key builds what the third one keeps
				read(3)
				n := mallocs(func() { all(messages) })
				read(messages)
				if n > messages*20 {
					t.Errorf("%s: %d allocations for %d messages to %d receivers", name, n, messages, receivers)
				}
				t.Logf("%s: %.1f allocations a message", name, float64(n)/messages)
			}
		})
	}
}
