package netpoll

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// Refused connections are held for a second, as many as may be, and no longer.
func TestRefusedAreHeld(t *testing.T) {
	var r refused
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
	want("before their time", 0)
	r.expire(lingerTime)
	want("when it has come", 2)
	r.expire(3*lingerTime/2 - 1)
	want("nor is the third one early", 2)
	hold(3, 2+lingerMost, lingerTime)
	want("there is room for so many", 2)
	hold(2+lingerMost, 5+lingerMost, lingerTime)
	want("the oldest make room", 5)
	r.expire(2*lingerTime - 1)
	want("the others stay", 5)
	r.end()
	want("in the end all go", 5+lingerMost)
	hold(5+lingerMost, 6+lingerMost, 0)
	want("and nobody is held behind it", 6+lingerMost)
}

// A peer that is refused reads why, and the end behind it, whatever it has sent before
// and sends meanwhile; and it is not waited for.
func TestRefusedPeerReadsWhy(t *testing.T) {
	everywhere(t, func(t *testing.T, kind Kind, network string) {
		e, err := New(Config{Transport: kind, Refusal: []byte("no room")})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		ln := listen(t, network)
		addr := ln.Addr().String()
		e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) { return nil, nil })
		for i := range 4 * lingerMost {
			nc, err := net.Dial(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(patience))
			if i%2 == 0 {
				eventually(t, "it is refused", func() bool { return e.Stats().Refused == int64(i+1) })
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
