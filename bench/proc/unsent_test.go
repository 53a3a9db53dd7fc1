package proc

import (
	"net"
	"net/netip"
	"testing"
)

func TestUnsent(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := netip.MustParseAddrPort(l.Addr().String())
	peer, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := Unsent(addr); err != nil || n != 0 {
		t.Errorf("%d bytes before any is written: %v", n, err)
	}
	// More than the peer's kernel buffers, and less than both kernels together: the rest stays unsent.
	if err := peer.(*net.TCPConn).SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).SetWriteBuffer(8 << 20); err != nil {
		t.Fatal(err)
	}
	const written = 256 << 10
	if _, err := c.Write(make([]byte, written)); err != nil {
		t.Fatal(err)
	}
	if n, err := Unsent(addr); err != nil || n == 0 || n > written {
		t.Errorf("%d unsent bytes of %d: %v", n, written, err)
	}
}

func TestUnsentLine(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       int
	}{
		{"of the port", "   2: 0100007F:7261 01000A7F:9D08 01 0003FD00:00000010 01:00000014 00000002     0        0 1 2 0 20 4 30 10 -1", 0x3fd00},
		{"its other end", "   2: 01000A7F:9D08 0100007F:7261 01 0003FD00:00000010 01:00000014 00000002     0        0 1 2 0 20 4 30 10 -1", 0},
		{"the listener", "   2: 0100007F:7261 00000000:0000 0A 00000003:00000010 00:00000000 00000000     0        0 1 2 0 20 4 30 10 -1", 0},
		{"the port of another address", "   2: 0102007F:7261 01000A7F:9D08 01 0003FD00:00000010 01:00000014 00000002     0        0 1 2 0 20 4 30 10 -1", 0},
		{"IPv6", "   2: 0000000000000000FFFF00000100007F:7261 0000000000000000FFFF00000100007F:9D08 01 00000007:00000000 00:00000000", 7},
		{"the head", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n, err := unsent(tt.line, local(netip.MustParseAddrPort("127.0.0.1:29281"))); n != tt.want || err != nil {
				t.Errorf("%d, not %d: %v", n, tt.want, err)
			}
		})
	}
}
