package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// raceRounds is how many sessions the test of closing races ends. A long run is
// one of
//
//	FANFARE_RACE=100000 go test -race -run TestClosingRaces -timeout 30m ./server
func raceRounds(t *testing.T) int {
	v := os.Getenv("FANFARE_RACE")
	if v == "" {
		return 1000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("FANFARE_RACE is %q, want a number", v)
	}
	return n
}

// Shutdown, a kick, a close for slowness, the peer's close frame, its end of the
// stream or its reset, and writes, all at once on the same connection. OnClose
// comes once, descriptors are released once, no session gets a message for another, nothing
// comes after a close frame, and the counts add up.
func TestClosingRaces(t *testing.T) {
	rounds := raceRounds(t)
	begun := time.Now()
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		n := rounds
		if transport != netpoll.Epoll {
			n = max(rounds/10, 100)
		}
		descriptors := len(openDescriptors())
		codes := make(map[Code]int64)
		const batch = 250
		for at := 0; at < n && !t.Failed(); at += batch {
			closingRace(t, transport, min(batch, n-at), codes)
		}
		await(t, "descriptors are given back", func() bool { return len(openDescriptors()) <= descriptors })
		t.Logf("%d sessions, closed with %v; %v since the test began", n, codes, time.Since(begun).Round(time.Millisecond))
		for _, code := range []Code{4000, 1013, 1001} {
			if codes[code] == 0 && n >= 1000 {
				t.Errorf("no session was closed with %d: nothing raced", code)
			}
		}
	})
}

// closingRace ends n sessions of one server and adds the codes that were counted
// to codes.
func closingRace(t *testing.T, transport netpoll.Transport, n int, codes map[Code]int64) {
	closed := make([]atomic.Int32, n) // calls of OnClose
	ep := PushEndpoint("/")
	ep.Rate.Unlimited = true
	ep.Hooks.OnMessage = func(s *Session, _ Op, payload []byte) {
		if s.User() != string(payload) {
			t.Errorf("%s sent %q", s.User(), payload)
		}
	}
	ep.Hooks.OnClose = func(s *Session, why frame.CloseError) {
		i, err := strconv.Atoi(strings.TrimPrefix(s.User(), "u"))
		if err != nil || closed[i].Add(1) != 1 {
			t.Errorf("OnClose came again for %q", s.User())
		}
	}
	srv, err := New(Config{Transport: transport, Listen: "127.0.0.1:0", Endpoints: []Endpoint{ep}, DrainRate: 1 << 20, CloseTimeout: tick})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}

	clients, sessions := make([]*client, n), make([]*Session, n)
	each(4, func(g int) {
		for i := g; i < n; i += 4 {
			if c := connectFrom(t, srv, i); c != nil {
				c.Write([]byte(request(fmt.Sprintf("GET /?user=u%d HTTP/1.1", i))))
				for line := "-"; line != "\r\n" && line != ""; line, _ = c.br.ReadString('\n') {
				}
				clients[i] = c
			}
		}
	})
	for i := range n {
		sessions[i] = only(t, srv, fmt.Sprint("u", i))
	}

	// All go over the sessions in step, and each leaves some out, so that each of
	// them is the first now and then. Shutdown comes near the end and closes what
	// is left; before, one of them does to a session what it would do.
	const actors = 5
	here := make([]atomic.Int32, n)
	begin := make(chan struct{})
	last := n - 1 - rand.IntN(min(n, 50))
	var all sync.WaitGroup
	over := func(act func(i int, user string)) {
		all.Go(func() {
			for i := range n {
				if here[i].Add(1) == actors && i == last {
					close(begin)
				}
				for here[i].Load() < actors {
					runtime.Gosched()
				}
				if rand.IntN(2) == 0 {
					act(i, "u"+strconv.Itoa(i))
				}
			}
		})
	}
	over(func(_ int, user string) { srv.disconnectHere(user, 4000, "kicked") })
	over(func(i int, _ string) { sessions[i].outcome(netpoll.Full) })
	over(func(i int, _ string) { sessions[i].Close(frame.StatusGoingAway, "") })
	over(func(i int, user string) {
		for range 3 {
			push(srv, user, Text, []byte(user))
		}
	})
	over(func(i int, user string) {
		c := clients[i]
		c.Write(masked(Text, true, []byte(user)))
		switch i % 5 {
		case 0:
			c.Write(masked(ws.OpClose, true, []byte(closePayload(4001, ""))))
		case 1:
			c.reset()
		case 2:
			c.Close()
		case 3:
			c.Write([]byte("\xff")) // it begins no frame
		} // or it only answers
	})
	for i, c := range clients {
		all.Go(func() { watchClosing(t, c, "u"+strconv.Itoa(i), i%5 == 4) })
	}
	done := make(chan error, 1)
	go func() {
		<-begin
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		done <- srv.Shutdown(ctx)
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	all.Wait()

	wantEmpty(t, srv)
	for i := range closed {
		if k := closed[i].Load(); k != 1 {
			t.Errorf("OnClose came %d times for u%d", k, i)
		}
	}
	var sum int64
	for code := range srv.stats.Closes {
		k := srv.stats.Closes[code].Load()
		sum += k
		if k > 0 {
			codes[Code(code)] += k
		}
	}
	if st := srv.engine.Stats(); sum != int64(n) || srv.stats.Handshakes.Load() != int64(n) || st.Opened != int64(n) || st.Closed != int64(n) {
		t.Errorf("%d closes, %d handshakes, %d connections opened and %d closed were counted, want %d", sum, srv.stats.Handshakes.Load(), st.Opened, st.Closed, n)
	}
}

// watchClosing reads to the end: messages for user, then one close frame at most,
// and nothing after it.
func watchClosing(t *testing.T, c *client, user string, answer bool) {
	closes := 0
	for {
		op, payload, err := c.frame()
		switch {
		case err != nil:
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !strings.Contains(err.Error(), "use of closed") && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v", user, err)
			}
			c.Close()
			return
		case closes > 0:
			t.Errorf("%s got %x %q after a close frame", user, op, payload)
		case op == ws.OpClose:
			closes++
			if answer {
				c.Write(masked(ws.OpClose, true, payload))
			}
		case op != Text || string(payload) != user:
			t.Errorf("%s got %x %q", user, op, payload)
		}
	}
}
