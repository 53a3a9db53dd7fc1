package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// v2 returns a header of version 2.
func v2(command, family byte, body string) string {
	return v2Prefix + string(binary.BigEndian.AppendUint16([]byte{command, family}, uint16(len(body)))) + body
}

func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed returns a header of version 2 with a checksum.
func summed(family byte, body string) string {
	b := []byte(v2(proxy, family, body+tlv(typeCRC32C, "\x00\x00\x00\x00")))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, castagnoli))
	return string(b)
}

var (
	body4 = "\x01\x02\x03\x04\x7f\x00\x00\x01\xff\xff\x01\xbb"
	body6 = string(netip.MustParseAddr("2001:db8::1").AsSlice()) + strings.Repeat("\x00", 15) + "\x01\x10\x00\x01\xbb"
)

var valid = []struct{ name, header, client string }{
	{"TCP4", "PROXY TCP4 1.2.3.4 127.0.0.1 65535 443\r\n", "1.2.3.4:65535"},
	{"TCP6", "PROXY TCP6 2001:db8::1 ::1 0 443\r\n", "[2001:db8::1]:0"},
	{"TCP6, an address of version 4", "PROXY TCP6 ::ffff:1.2.3.4 ::1 1 443\r\n", "1.2.3.4:1"},
	{"the longest of version 1", "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535" + strings.Repeat(" ", 48) + "\r\n", ""},
	{"UNKNOWN", "PROXY UNKNOWN\r\n", ""},
	{"UNKNOWN with what is ignored", "PROXY UNKNOWN x y\r\n", ""},
	{"version 2, TCP4", v2(proxy, tcp4, body4), "1.2.3.4:65535"},
	{"version 2, TCP6", v2(proxy, tcp6, body6), "[2001:db8::1]:4096"},
	{"LOCAL", v2(local, unspec, ""), ""},
	{"LOCAL with addresses", v2(local, tcp4, body4), ""},
	{"LOCAL with what is ignored", v2(local, 0xff, "\x01\xff\xff"), ""},
	{"AF_UNSPEC", v2(proxy, unspec, "\x01\xff\xff"), ""},
	{"AF_UNIX", v2(proxy, unix, strings.Repeat("/tmp/socket", 20)[:216]), ""},
	{"TLVs", v2(proxy, tcp4, body4+tlv(1, "h2")+tlv(2, "example.org")+tlv(4, "")+tlv(0xea, "vpce")), "1.2.3.4:65535"},
	{"checksum", summed(tcp6, body6+tlv(4, "x")), "[2001:db8::1]:4096"},
	{"longest", v2(proxy, tcp4, body4+tlv(4, strings.Repeat("x", MaxLen-v2Head-12-3))), "1.2.3.4:65535"},
}

func TestParse(t *testing.T) {
	for _, tt := range valid {
		for _, after := range []string{"", "G", "GET / HTTP/1.1\r\n\r\n"} {
			in := []byte(tt.header + after)
			for cut := range len(tt.header) {
				if h, n, err := Parse(in[:cut]); h.Client.IsValid() || n != 0 || err != nil {
					t.Fatalf("%s, cut at %d: %v, %d, %v", tt.name, cut, h, n, err)
				}
			}
			h, n, err := Parse(in)
			if client := h.Client.String(); err != nil || n != len(tt.header) || tt.client != "" && client != tt.client || h.Client.IsValid() != (tt.client != "") {
				t.Errorf("%s: %v, %d, %v, want %s and %d", tt.name, h, n, err, tt.client, len(tt.header))
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	damaged := []byte(summed(tcp4, body4))
	damaged[v2Head]++
	for _, tt := range []struct{ name, in, want string }{
		{"a request", "GET / HTTP/1.1\r\n", "the connection does not begin with a PROXY protocol header"},
		{"a request like it", "PROXYTCP", "does not begin with"},
		{"TLS", "\x16\x03\x01", "does not begin with"},
		{"empty lines", "\r\n\r\n\r\n", "does not begin with"},
		{"UDP", "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "is malformed"},
		{"no family", "PROXY \r\n", "is malformed"},
		{"two spaces", "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "is malformed"},
		{"a field more", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "is malformed"},
		{"an address less", "PROXY TCP4 1.2.3.4 1 2\r\n", "is malformed"},
		{"no address", "PROXY TCP4 localhost 1.2.3.4 1 2\r\n", `malformed address for TCP4: "localhost"`},
		{"version 6 as 4", "PROXY TCP4 ::1 ::1 1 2\r\n", "malformed address"},
		{"version 4 as 6", "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "malformed address"},
		{"a zone", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "malformed address"},
		{"a bad destination", "PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n", "malformed address"},
		{"a port too high", "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", `malformed port: "65536"`},
		{"a port with a sign", "PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n", "malformed port"},
		{"a port with a zero", "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "malformed port"},
		{"no end", "PROXY TCP4 " + strings.Repeat("1", 100), "no end within 107 bytes"},
		{"the end too late", "PROXY UNKNOWN " + strings.Repeat("1", 92) + "\r\n", "no end within 107 bytes"},
		{"version 1 in version 2", v2(0x11, tcp4, body4), "version and command 0x11"},
		{"an unknown command", v2(0x22, tcp4, body4), "version and command 0x22"},
		{"UDP in version 2", v2(proxy, 0x12, body4), "family and transport 0x12"},
		{"short addresses", v2(proxy, tcp4, body4[:11]), "has 11 bytes of addresses, want 12"},
		{"short addresses of version 6", v2(proxy, tcp6, body4), "has 12 bytes of addresses, want 36"},
		{"a short path", v2(proxy, unix, body6), "has 36 bytes of addresses, want 216"},
		{"a cut TLV", v2(proxy, tcp4, body4+"\x04\x00"), "incomplete field"},
		{"a long TLV", v2(proxy, tcp4, body4+"\x04\x00\x05x"), "field 0x04 that is longer than the header"},
		{"a short checksum", v2(proxy, tcp4, body4+tlv(typeCRC32C, "xxx")), "checksum of 3 bytes"},
		{"a wrong checksum", string(damaged), "wrong checksum"},
		{"too long", v2(proxy, tcp4, strings.Repeat("x", MaxLen-v2Head+1)), "longer than 4096 bytes"},
		{"much too long, not arrived", v2Prefix + "\x21\x11\xff\xff", "longer than 4096 bytes"},
	} {
		h, n, err := Parse([]byte(tt.in))
		if err == nil || !strings.Contains(err.Error(), tt.want) || n != 0 || h.Client.IsValid() {
			t.Errorf("%s: %v, %d, %v, want %s", tt.name, h, n, err, tt.want)
		}
	}
}

// FuzzParse: the outcome does not depend on how bytes are cut, and nothing reads past the end
// of the header.
func FuzzParse(f *testing.F) {
	for _, tt := range valid {
		f.Add([]byte(tt.header+"GET"), uint16(len(tt.header)/2))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		b = slices.Clip(b)
		h, n, err := Parse(b)
		if n < 0 || n > len(b) || n > MaxLen || err != nil && n != 0 {
			t.Fatalf("length %d of %d, %v", n, len(b), err)
		}
		if again, m, err := Parse(b[:n:n]); n > 0 && (again != h || m != n || err != nil) {
			t.Fatalf("without what follows: %v, %d, %v, not %v, %d", again, m, err, h, n)
		}
		early, m, earlyErr := Parse(b[:min(int(cut), len(b))])
		if m > 0 && (early != h || m != n) || earlyErr != nil && (err == nil || earlyErr.Error() != err.Error()) {
			t.Fatalf("cut at %d: %v, %d, %v; whole: %v, %d, %v", cut, early, m, earlyErr, h, n, err)
		}
		if n == 0 && err == nil && len(b) >= MaxLen {
			t.Fatal("no end")
		}
	})
}

// Conn gives what follows the header, however the bytes arrive.
func TestConn(t *testing.T) {
	const text = "GET / HTTP/1.1\r\n\r\n"
	for _, tt := range valid {
		for _, pieces := range [][]string{{tt.header + text}, {tt.header, text}, strings.Split(tt.header+text, "")} {
			here, there := net.Pipe()
			go func() {
				for _, p := range pieces {
					io.WriteString(there, p)
				}
				there.Close()
			}()
			c := NewConn(here, func(err error) { t.Errorf("%s: %v", tt.name, err) })
			got, err := io.ReadAll(c)
			if string(got) != text || err != nil || c.Header().Client.IsValid() != (tt.client != "") {
				t.Errorf("%s in %d pieces: %q, %v, %v", tt.name, len(pieces), got, err, c.Header())
			}
		}
	}
	for _, in := range []string{"GET / HTTP/1.1\r\n", "PROXY TCP4 ", ""} {
		here, there := net.Pipe()
		go func() {
			io.WriteString(there, in)
			there.Close()
		}()
		failed := 0
		c := NewConn(here, func(error) { failed++ })
		for range 2 {
			if n, err := c.Read(make([]byte, 10)); n > 0 || err == nil {
				t.Errorf("%q: %d bytes, %v", in, n, err)
			}
		}
		if want := map[bool]int{true: 1}[in != "" && in[0] == 'G']; failed != want {
			t.Errorf("%q: %d failures are reported, want %d", in, failed, want)
		}
	}
}
