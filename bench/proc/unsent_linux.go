package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Unsent returns how many bytes the kernel holds for connections of a listener on this machine whose peers have not
// received them.
func Unsent(addr netip.AddrPort) (bytes int, err error) {
	read, address := false, local(addr)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue // no IPv6
		}
		read = true
		for line := range strings.Lines(string(b)) {
			n, err := unsent(line, address)
			if err != nil {
				return 0, fmt.Errorf("proc: %s: %w", table, err)
			}
			bytes += n
		}
	}
	if !read {
		return 0, errors.New("proc: no table of TCP connections")
	}
	return bytes, nil
}

// local returns how the local address of a connection ends in the table, see proc_net_tcp(5):
// words of 4 bytes in the order of bytes of the machine, so those of an IPv4 address end that of IPv6 that it is mapped
// to. An unspecified address stands for all.
func local(addr netip.AddrPort) string {
	var s string
	if !addr.Addr().IsUnspecified() {
		for word := range slices.Chunk(addr.Addr().Unmap().AsSlice(), 4) {
			s += fmt.Sprintf("%08X", binary.NativeEndian.Uint32(word))
		}
	}
	return fmt.Sprintf("%s:%04X", s, addr.Port())
}

// unsent returns the bytes of a line of the table, if its connection has the local address.
func unsent(line, address string) (int, error) {
	// sl local_address rem_address st tx:rx …; the queues of a listener count connections, not bytes
	f := strings.Fields(line)
	const established = "01"
	if len(f) < 5 || f[3] != established || !strings.HasSuffix(f[1], address) {
		return 0, nil
	}
	tx, _, _ := strings.Cut(f[4], ":")
	n, err := strconv.ParseUint(tx, 16, 32)
	return int(n), err
}
