package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// Header is what a proxy says of a connection.
type Header struct {
	// Client is the zero AddrPort if the connection is the proxy's own, such as a health
	// check (LOCAL), or if the proxy does not know the client or knows it by something else
	// than an IP address (UNKNOWN, AF_UNSPEC, AF_UNIX).
	Client netip.AddrPort
}

const (
	v1Prefix = "PROXY "
	// v1Max is the longest header of version 1, with CR LF, section 2.1.
	v1Max = 107
	// v2Prefix is the signature of version 2, section 2.2.
	v2Prefix = "\r\n\r\n\x00\r\nQUIT\n"
	v2Head   = len(v2Prefix) + 4 // and version, family, length
	// MaxLen bounds a header. Section 2.2 asks for 536 bytes at least; what proxies add of
	// TLS and of their own is a few hundred.
	MaxLen = 4 << 10
)

// Commands and address families of version 2.
const (
	local = 0x20
	proxy = 0x21

	unspec = 0x00
	tcp4   = 0x11
	tcp6   = 0x21
	unix   = 0x31

	typeCRC32C = 0x03
)

var (
	// ErrNone: what arrived does not begin with a header.
	ErrNone    = errors.New("the connection does not begin with a PROXY protocol header")
	errTooLong = fmt.Errorf("the PROXY protocol header is longer than %d bytes", MaxLen)
)

// Parse reads the header with which b begins. n is its length, or 0 if b does not hold all
// of it. The outcome does not depend on how the bytes are cut.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case begins(b, v1Prefix):
		return parse1(b)
	case begins(b, v2Prefix):
		return parse2(b)
	}
	return h, 0, ErrNone
}

// Announced reports whether b begins with a complete prefix of a header.
func Announced(b []byte) bool {
	return bytes.HasPrefix(b, []byte(v1Prefix)) || bytes.HasPrefix(b, []byte(v2Prefix))
}

// begins reports whether b begins with prefix, as far as it has arrived.
func begins(b []byte, prefix string) bool {
	n := min(len(b), len(prefix))
	return string(b[:n]) == prefix[:n]
}

// parse1 reads version 1: "PROXY TCP4 SOURCE DESTINATION SPORT DPORT" and CR LF.
func parse1(b []byte) (h Header, n int, err error) {
	i := bytes.Index(b[:min(len(b), v1Max)], []byte("\r\n"))
	if i < 0 {
		if len(b) >= v1Max {
			return h, 0, fmt.Errorf("the PROXY protocol header has no end within %d bytes", v1Max)
		}
		return h, 0, nil
	}
	line, n := string(b[:i]), i+2
	fields := strings.Split(line, " ")
	if len(fields) > 1 && fields[1] == "UNKNOWN" { // what follows is ignored
		return h, n, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return h, 0, fmt.Errorf("the PROXY protocol header is malformed: %q", line)
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(fields[2+i])
		if err != nil || addr.Is4() != (fields[1] == "TCP4") || addr.Zone() != "" {
			return h, 0, fmt.Errorf("the PROXY protocol header has a malformed address for %s: %q", fields[1], fields[2+i])
		}
		port, err := strconv.ParseUint(fields[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != fields[4+i] {
			return h, 0, fmt.Errorf("the PROXY protocol header has a malformed port: %q", fields[4+i])
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	h.Client = ends[0]
	return h, n, nil
}

// parse2 reads version 2: signature, command, family, length; addresses; TLVs.
func parse2(b []byte) (h Header, n int, err error) {
	if len(b) > len(v2Prefix) {
		if c := b[len(v2Prefix)]; c != local && c != proxy {
			return h, 0, fmt.Errorf("the PROXY protocol header has the unknown version and command 0x%02x", c)
		}
	}
	if len(b) < v2Head {
		return h, 0, nil
	}
	n = v2Head + int(binary.BigEndian.Uint16(b[v2Head-2:]))
	if n > MaxLen {
		return h, 0, errTooLong
	}
	if len(b) < n {
		return h, 0, nil
	}
	family, body := b[len(v2Prefix)+1], b[v2Head:n]
	if b[len(v2Prefix)] == local || family == unspec { // the rest is ignored
		return h, n, nil
	}
	size := map[byte]int{tcp4: 12, tcp6: 36, unix: 216}[family]
	if size == 0 {
		return h, 0, fmt.Errorf("the PROXY protocol header has the family and transport 0x%02x: want TCP or a Unix stream", family)
	}
	if len(body) < size {
		return h, 0, fmt.Errorf("the PROXY protocol header has %d bytes of addresses, want %d", len(body), size)
	}
	if err := checkTLVs(b[:n], v2Head+size); err != nil {
		return h, 0, err
	}
	switch family {
	case tcp4:
		h.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
	case tcp6:
		h.Client = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
	}
	return h, n, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkTLVs checks the type-length-value fields of a header, which begin at i, and its
// checksum if it has one, section 2.2.3. It ignores all others.
func checkTLVs(header []byte, i int) error {
	for i < len(header) {
		if len(header)-i < 3 {
			return errors.New("the PROXY protocol header has an incomplete field at its end")
		}
		kind, size := header[i], int(binary.BigEndian.Uint16(header[i+1:]))
		i += 3
		if size > len(header)-i {
			return fmt.Errorf("the PROXY protocol header has a field 0x%02x that is longer than the header", kind)
		}
		if kind == typeCRC32C {
			if size != crc32.Size {
				return fmt.Errorf("the PROXY protocol header has a checksum of %d bytes, want %d", size, crc32.Size)
			}
			sum := crc32.Update(0, castagnoli, header[:i]) // of the header with zeros for the sum
			sum = crc32.Update(sum, castagnoli, make([]byte, crc32.Size))
			sum = crc32.Update(sum, castagnoli, header[i+crc32.Size:])
			if sum != binary.BigEndian.Uint32(header[i:]) {
				return errors.New("the PROXY protocol header has a wrong checksum")
			}
		}
		i += size
	}
	return nil
}
