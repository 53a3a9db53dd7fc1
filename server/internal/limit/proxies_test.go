package limit

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

func TestProxiesClient(t *testing.T) {
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct{ name, header, want string }{
		{"one", "192.0.2.1", "192.0.2.1:0"},
		{"a lie in front", "198.51.100.9, 192.0.2.1", "192.0.2.1:0"},
		{"through two proxies", "192.0.2.1, 10.0.0.3", "192.0.2.1:0"},
		{"IPv6 in brackets", "[2001:db8::1]", "[2001:db8::1]:0"},
		{"port", "192.0.2.1:4711", "192.0.2.1:4711"},
		{"IPv6 with a port", "[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1:0"},
		{"port after a lie, through two proxies", "198.51.100.9, 192.0.2.1:80, 10.0.0.3:443", "192.0.2.1:80"},
		{"loopback of the proxy's machine", "127.0.0.1", "127.0.0.1:0"},
		{"nonsense last", "192.0.2.1, unknown", "invalid AddrPort"},
		{"nonsense in front", "unknown, 192.0.2.1", "192.0.2.1:0"},
		{"port that is not a number", "192.0.2.1:http", "invalid AddrPort"},
		{"proxies only", "10.0.0.3, 10.0.0.4", "invalid AddrPort"},
		{"empty", "", "invalid AddrPort"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			members := bytes.Split([]byte(tt.header), []byte(", "))
			if got := proxies.Client(slices.Values(members)).String(); got != tt.want {
				t.Errorf("%q: %s, want %s", tt.header, got, tt.want)
			}
		})
	}
}

func TestParseAddrPort(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:80":          "192.0.2.1:80",
		"[2001:db8::1]:80":      "[2001:db8::1]:80",
		"[::ffff:192.0.2.1]:80": "192.0.2.1:80",
		"192.0.2.1":             "192.0.2.1:0", // chi's RealIP leaves that
		"[2001:db8::1]":         "[2001:db8::1]:0",
		"@":                     "invalid AddrPort",
		"":                      "invalid AddrPort",
	} {
		if got := ParseAddrPort(in).String(); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
