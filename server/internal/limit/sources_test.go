package limit

import (
	"net/netip"
	"testing"
)

func TestPeerAddr(t *testing.T) {
	for _, tt := range []struct{ name, addr, want string }{
		{"IPv4", "192.0.2.7", "192.0.2.7"},
		{"IPv4 in IPv6", "::ffff:192.0.2.7", "192.0.2.7"},
		{"IPv6 by /64", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"zone", "fe80::1%eth0", "fe80::"},
		{"loopback", "127.0.0.9", ""},
		{"loopback in IPv6", "::ffff:127.0.0.9", ""},
		{"loopback IPv6", "::1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := PeerAddr(netip.MustParseAddr(tt.addr))
			if (tt.want == "") == got.IsValid() || tt.want != "" && got.String() != tt.want {
				t.Errorf("PeerAddr(%s) = %v, want %q", tt.addr, got, tt.want)
			}
		})
	}
	if PeerAddr(netip.Addr{}).IsValid() {
		t.Error("a Unix socket is counted")
	}
}

func TestSources(t *testing.T) {
	ss := NewSources()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	first, ok := ss.Enter(a, 2)
	second, ok2 := ss.Enter(a, 2)
	if !ok || !ok2 || first != second {
		t.Fatal("two connections of one address are not one source")
	}
	if _, ok := ss.Enter(a, 2); ok {
		t.Error("a third connection was accepted")
	}
	if _, ok := ss.Enter(b, 2); !ok {
		t.Error("another address pays for it")
	}
	for range 10 * Burst {
		if _, ok := first.Handshake(10, 100); !ok {
			t.Fatal("a handshake within the burst is rejected")
		}
	}
	if wait, ok := first.Handshake(10, 100); ok || wait != Tick {
		t.Errorf("a handshake over the rate is accepted, or may come back after %v", wait)
	}
	first.Leave()
	first.Leave()
	ss.Sweep(100 + Burst*TicksPerSecond - 1)
	if again, _ := ss.Enter(a, 2); again != first {
		t.Error("a source was forgotten while its bucket was not full")
	}
	first.Leave()
	ss.Sweep(100 + Burst*TicksPerSecond)
	if again, _ := ss.Enter(a, 2); again == first {
		t.Error("a source without connections is kept")
	}
}

func TestUncounted(t *testing.T) {
	src, ok := NewSources().Enter(netip.Addr{}, 0)
	_, may := src.Handshake(0, 1)
	if src != nil || !ok || !may {
		t.Error("a connection without a counted address is limited")
	}
	src.Leave()
}
