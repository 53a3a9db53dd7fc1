package server

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/limit"
)

// A client that sends much at once has others served between its messages, and
// neither loses one nor pays for it twice.
func TestWorkYields(t *testing.T) {
	for _, kind := range []netpoll.Transport{netpoll.Epoll, netpoll.Easygo, netpoll.Goroutine} {
		t.Run(kind.String(), func(t *testing.T) {
			const n = 2000
			var flood []byte
			for i := range n {
				flood = append(flood, masked(Text, true, fmt.Appendf(nil, "%08d", i))...)
			}
			last := 0
			ep := Endpoint{Path: "/echo", Rate: Rate{Messages: n / limit.Burst, Bytes: len(flood)/limit.Burst + 1}}
			ep.Hooks.OnMessage = func(s *Session, op Op, payload []byte) {
				if want := fmt.Appendf(nil, "%08d", last); !bytes.Equal(payload, want) {
					t.Errorf("got %q, want %q", payload, want)
				}
				last++
				s.Send(op, bytes.Clone(payload))
			}
			srv, err := newServer(Config{Listen: "127.0.0.1:0", Transport: kind, Endpoints: []Endpoint{ep}})
			if err != nil {
				t.Fatal(err)
			}
			// Each look at the time finds that a lot has passed.
			var looks atomic.Int64
			srv.now = func() time.Duration { return time.Duration(looks.Add(1)) * maxWork * 2 }
			serve(t, srv)
			c := dial(t, srv, "/echo")
			c.say(string(flood))
			for i := range n {
				if op, payload, err := c.frame(); op != Text || string(payload) != fmt.Sprintf("%08d", i) || err != nil {
					t.Fatalf("%d: %v %q %v", i, op, payload, err)
				}
			}
			if yielded := srv.engine.Stats().Yielded; (yielded > 0) != (kind != netpoll.Goroutine) {
				t.Errorf("the turn was given up %d times", yielded)
			}
		})
	}
}

// Inflating is work as well: a message that becomes much comes in as many turns.
func TestInflatingYields(t *testing.T) {
	const size, least = 512 << 10, 20 // the decoder stops some sixty times
	ep := compressing(EchoEndpoint("/echo"))
	ep.Rules.MaxMessage = size
	ep.Rules.Deflate.MaxRatio = size
	srv, err := newServer(Config{Listen: "127.0.0.1:0", QueueBytes: 2 * size, Endpoints: []Endpoint{ep}})
	if err != nil {
		t.Fatal(err)
	}
	var looks atomic.Int64
	srv.now = func() time.Duration { return time.Duration(looks.Add(1)) * maxWork * 2 }
	serve(t, srv)
	c := dial(t, srv, "/echo", "Sec-WebSocket-Extensions: permessage-deflate")
	c.sendDeflated(Text, make([]byte, size))
	c.wantBack(make([]byte, size))
	if yielded := srv.engine.Stats().Yielded; yielded < least {
		t.Errorf("the turn was given up %d times, want at least %d", yielded, least)
	}
}
