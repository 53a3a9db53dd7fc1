package netpoll

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// Rejected connections linger for a second, and at most maxLingering of them.
func TestRejectedLinger(t *testing.T) {
	var r lingerList
	r.timer = time.NewTimer(time.Hour)
	defer r.end()
	var closed []int
	hold := func(from, to int, now time.Duration) {
		for i := from; i < to; i++ {
			r.hold(func() { closed = append(closed, i) }, now)
		}
	}
	want := func(what string, n int) {
		t.Helper()
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		if !slices.Equal(closed, all) {
			t.Fatalf("%s: %v are closed, want the first %d", what, closed, n)
		}
	}
	hold(0, 2, 0)
	hold(2, 3, lingerTime/2)
	r.expire(lingerTime - 1)
	want("before lingerTime", 0)
	r.expire(lingerTime)
	want("at lingerTime", 2)
	r.expire(3*lingerTime/2 - 1)
	want("before lingerTime of the third", 2)
	hold(3, 2+maxLingering, lingerTime)
	want("maxLingering of them", 2)
	hold(2+maxLingering, 5+maxLingering, lingerTime)
	want("more than maxLingering", 5)
	r.expire(2*lingerTime - 1)
	want("before lingerTime of the others", 5)
	r.end()
	want("at the end", 5+maxLingering)
	hold(5+maxLingering, 6+maxLingering, 0)
	want("after the end", 6+maxLingering)
}

// A rejected client reads the response and the end of the stream, whatever it has sent
// before and sends meanwhile, and accepting does not wait for it.
func TestRejectedClientReadsResponse(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		e, err := New(Config{Transport: transport, RejectResponse: []byte("no room")})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		ln := listen(t, network)
		addr := ln.Addr().String()
		e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) { return nil, nil })
		for i := range 4 * maxLingering {
			nc, err := net.Dial(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(patience))
			if i%2 == 0 {
				eventually(t, "it is rejected", func() bool { return e.Stats().Rejected == int64(i+1) })
			}
			if _, err := io.WriteString(nc, "what I want"); err != nil {
				t.Fatalf("peer %d cannot send: %v", i, err)
			}
			if got, err := io.ReadAll(nc); err != nil || string(got) != "no room" {
				t.Fatalf("peer %d reads %q, %v", i, got, err)
			}
			if i%3 > 0 {
				nc.Close()
			} else {
				t.Cleanup(func() { nc.Close() }) // stays
			}
		}
	})
}
