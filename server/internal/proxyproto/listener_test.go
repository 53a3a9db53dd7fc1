package proxyproto

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// TestListener: the header is read from connections of proxies, and from no others.
func TestListener(t *testing.T) {
	for _, test := range []struct {
		proxy      bool
		send, want string
		failed     bool
	}{
		{true, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello", "hello", false},
		{true, "hello, this is no header at all", "", true},
		{false, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello", false},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		failed := false
		l := &Listener{ln, func(peer netip.Addr) bool { return test.proxy && peer.IsLoopback() }, func(peer netip.Addr, err error) { failed = err != nil && peer.IsLoopback() }}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, test.send)
		c.Close()
		if got, _ := io.ReadAll(nc); string(got) != test.want || failed != test.failed {
			t.Errorf("%q of a proxy (%t): got %q, failed %t", test.send, test.proxy, got, failed)
		}
		client := netip.MustParseAddrPort("192.0.2.1:1")
		if got := Named(nc, client).RemoteAddr().String(); got != client.String() {
			t.Errorf("the connection comes from %s", got)
		}
		nc.Close()
		ln.Close()
	}
}

// TestTake: a header may be cut anywhere.
func TestTake(t *testing.T) {
	const header, rest = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "GET /"
	for cut := range header {
		_, held, left, err := Take(nil, []byte(header[:cut]))
		if err != nil || left != nil || string(held) != header[:cut] {
			t.Fatalf("cut at %d: held %q, left %q, %v", cut, held, left, err)
		}
		h, held, left, err := Take(held, []byte(header[cut:]+rest))
		if err != nil || held != nil || string(left) != rest || h.Client.String() != "192.0.2.1:1" {
			t.Fatalf("cut at %d: held %q, left %q, client %v, %v", cut, held, left, h.Client, err)
		}
	}
	if _, _, left, err := Take(nil, []byte(header)); err != nil || left == nil || len(left) > 0 {
		t.Errorf("a header alone leaves %v, %v: want an empty slice", left, err)
	}
	if _, held, left, err := Take([]byte("PRO"), []byte("SE")); err == nil || held != nil || left != nil {
		t.Errorf("a wrong header is held as %q", held)
	}
}
