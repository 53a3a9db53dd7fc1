package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// Everything that can end a session, at the same time, thousands of times over: a
// kick, a queue that is full, the peer's close frame, its reset, a broken
// protocol, a panic. OnClose comes once, with the code of one of them.
func TestEndingsCollide(t *testing.T) {
	rounds := 10_000
	if raceEnabled || testing.Short() {
		rounds = 500
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		var closed, twice atomic.Int64
		var codes sync.Map
		ep := PushEndpoint("/")
		ep.Rate.Unlimited = true
		ep.Hooks.OnMessage = func(s *Session, _ Op, payload []byte) {
			if string(payload) == "panic" {
				s.end(frame.StatusInternalError, "", true) // as recovered does, without a log line each
			}
		}
		ep.Hooks.OnClose = func(s *Session, why frame.CloseError) {
			closed.Add(1)
			codes.Store(why.Code, true)
			if s.Data() != nil {
				twice.Add(1)
			}
			s.SetData("closed")
		}
		srv := start(t, Config{Transport: transport, Endpoints: []Endpoint{ep}})
		const guests = 4
		var number atomic.Int64
		each(guests, func(int) {
			for i := number.Add(1); i <= int64(rounds); i = number.Add(1) {
				c := connectFrom(t, srv, int(i))
				if c == nil {
					return
				}
				user := fmt.Sprint("u", i)
				c.Write([]byte(request("GET /?user=" + user + " HTTP/1.1")))
				c.answer()
				s := only(t, srv, user)
				endings := []func(){
					func() { srv.disconnectHere(user, 4000, "kick") },
					func() { s.outcome(netpoll.Full) },
					func() { c.Write(masked(ws.OpClose, true, []byte(closePayload(4001, "")))) },
					func() { s.Close(1001, "drain") },
					func() { push(srv, user, Text, []byte("message")); c.Write(masked(Text, true, []byte("panic"))) },
					func() { c.Write([]byte("\xff\xff\xff\xff")) },
					func() { c.reset() },
					func() { s.conn.Close() },
				}
				first := int(i) % len(endings)
				var wg sync.WaitGroup
				for j := range 4 { // four of them, others each time
					wg.Go(endings[(first+j*int(1+i/8%3))%len(endings)])
				}
				wg.Wait()
				c.reset()
			}
		})
		await(t, "all sessions close", func() bool { return closed.Load() == int64(rounds) })
		if twice.Load() != 0 {
			t.Errorf("OnClose came twice for %d sessions", twice.Load())
		}
		codes.Range(func(code, _ any) bool {
			switch code.(Code) {
			case 4000, 1013, 4001, 1001, 1011, 1002, 1006:
			default:
				t.Errorf("closed with %d", code)
			}
			return true
		})
		wantEmpty(t, srv)
		if n := closed.Load(); n != int64(rounds) {
			t.Errorf("OnClose came %d times for %d sessions", n, rounds)
		}
	})
}

// Shutdown while clients come, talk, go and are kicked.
func TestShutdownCollides(t *testing.T) {
	rounds := 20
	if raceEnabled || testing.Short() {
		rounds = 5
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for round := range rounds {
			srv, err := New(Config{Transport: transport, Listen: "127.0.0.1:0", DrainRate: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Start(); err != nil {
				t.Fatal(err)
			}
			stop := rapidly(func(i int) {
				broadcast(srv, Text, []byte("all"))
				srv.disconnectHere(fmt.Sprint("u", i%8), 4000, "")
			})
			var guests sync.WaitGroup
			ctx, cancel := context.WithCancel(context.Background())
			for i := range 8 {
				guests.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						c, err := hasty(srv, fmt.Sprint("u", i))
						if err != nil {
							return // the listener is closed
						}
						c.finish()
					}
				})
			}
			await(t, "a session is open", func() bool { return srv.stats.Handshakes.Load() > int64(round%8) })
			bound, cancelBound := context.WithTimeout(context.Background(), 20*time.Second)
			if err := srv.Shutdown(bound); err != nil {
				t.Error(err)
			}
			cancelBound()
			cancel()
			guests.Wait()
			stop()
			wantEmpty(t, srv)
		}
	})
}

// hasty connects and sends a request, a message and half of another, without
// waiting for an answer.
func hasty(srv *Server, user string) (*client, error) {
	nc, err := net.Dial("tcp", srv.Addr().String())
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	message := string(masked(Text, true, []byte("message")))
	io.WriteString(nc, request("GET /ws?user="+user+" HTTP/1.1")+message+message[:3])
	br := bufio.NewReader(nc)
	for line := "-"; line != "\r\n" && line != ""; line, _ = br.ReadString('\n') {
	}
	return &client{Conn: nc, br: br}, nil
}
