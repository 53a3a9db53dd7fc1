package proc

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Unsent returns how many bytes the kernel holds for connections of a listener on this machine whose peers have not
// received them.
func Unsent(addr netip.AddrPort) (bytes int, err error) {
	read, port := false, fmt.Sprintf(":%04X", addr.Port())
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue // no IPv6
		}
		read = true
		for line := range strings.Lines(string(b)) {
			n, err := unsent(line, port)
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

// unsent returns the bytes of a line of the table, if its connection has the local port.
func unsent(line, port string) (int, error) {
	// sl local_address rem_address st tx:rx …; the queues of a listener count connections, not bytes
	f := strings.Fields(line)
	const established = "01"
	if len(f) < 5 || f[3] != established || !strings.HasSuffix(f[1], port) {
		return 0, nil
	}
	tx, _, _ := strings.Cut(f[4], ":")
	n, err := strconv.ParseUint(tx, 16, 32)
	return int(n), err
}
