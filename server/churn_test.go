package server

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
)

// connectFrom opens a connection from one of the addresses of loopback, of which
// each has ports of its own: tens of thousands of connections would else wait for
// each other's ports.
func connectFrom(t testing.TB, srv *Server, i int) *client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%8))}}
	nc, err := d.Dial("tcp", srv.Addr().String())
	if err != nil {
		t.Error(err)
		return nil
	}
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{Conn: nc, t: t, br: bufio.NewReaderSize(nc, 512)}
}

// Connections come and go by tens of thousands while users, topics and everybody
// are pushed to. No session gets a message for another user, and nothing is left.
func TestChurn(t *testing.T) {
	rounds := 50_000
	if raceEnabled || testing.Short() {
		rounds = 800
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		n := rounds
		if transport != netpoll.Epoll {
			n /= 5
		}
		srv := start(t, Config{Transport: transport})
		goroutinesBefore := len(goroutines())

		// Sessions that open and close.
		const guests = 16
		var number, came atomic.Int64
		stop := rapidly(func(i int) {
			// Users that are there, were there, or will be.
			u := number.Load() + rand.Int64N(2*guests) - guests
			switch i % 8 {
			case 0:
				broadcast(srv, Text, []byte("all"))
			case 1:
				publish(srv, fmt.Sprint("t", u%10), Text, fmt.Appendf(nil, "t%d", u%10))
			case 2:
				srv.disconnectHere(fmt.Sprint("u", u), 4000, fmt.Sprint("u", u))
			default:
				push(srv, fmt.Sprint("u", u), Text, fmt.Appendf(nil, "u%d", u))
			}
		})
		each(guests, func(int) {
			for i := number.Add(1); i <= int64(n) && !t.Failed(); i = number.Add(1) {
				c := connectFrom(t, srv, int(i))
				if c == nil {
					return
				}
				user, topic := fmt.Sprint("u", i), fmt.Sprint("t", i%10)
				c.Write([]byte(request("GET /ws?user=" + user + "&topic=" + topic + " HTTP/1.1")))
				if i%16 == 0 {
					c.reset() // without waiting for the answer
					continue
				}
				if line, err := c.br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 101 ") {
					t.Errorf("%s: %q, %v", user, line, err)
					c.Close()
					return
				}
				for line := ""; line != "\r\n"; line, _ = c.br.ReadString('\n') {
				}
				push(srv, user, Text, []byte(user+"!"))
				for got := ""; got != user+"!"; {
					op, payload, err := c.frame()
					got = string(payload)
					if err == nil && op == ws.OpClose && got == closePayload(4000, user) {
						break // it was kicked before
					}
					if err != nil || op != Text || got != "all" && got != topic && got != user && got != user+"!" {
						t.Errorf("%s got %x %q, %v", user, op, payload, err)
						break
					}
				}
				came.Add(1)
				leave(c, i)
			}
		})
		stop()
		if !t.Failed() && came.Load() != int64(n-n/16) {
			t.Errorf("%d of %d came", came.Load(), n)
		}
		wantEmpty(t, srv)
		await(t, "no goroutine is left", func() bool { return len(goroutines()) <= goroutinesBefore })
	})
}

// leave ends a connection in one of the ways in which clients do.
func leave(c *client, i int64) {
	switch i % 4 {
	case 0:
		c.Close()
	case 1:
		c.reset()
	default:
		c.Write(masked(ws.OpClose, true, []byte(closePayload(1000, ""))))
		io.Copy(io.Discard, c.br)
		c.Close()
	}
}

// wantEmpty checks that nothing of any session is left.
func wantEmpty(t *testing.T, srv *Server) {
	t.Helper()
	await(t, "all sessions end", func() bool {
		return srv.connections.Load() == 0 && srv.sessions.Load() == 0 && srv.engine.Opened() == 0
	})
	for what, n := range map[string]int{
		"users": srv.users.Users(), "sessions": srv.users.Sessions(), "topics": srv.users.Topics(),
		"timers": srv.wheel.Armed(), "timers of the application": srv.appTimers.Armed(),
	} {
		if n != 0 {
			t.Errorf("%d %s are left", n, what)
		}
	}
	if stats := srv.engine.Stats(); stats.Opened != stats.Closed {
		t.Errorf("%d connections were opened and %d closed", stats.Opened, stats.Closed)
	}
}
