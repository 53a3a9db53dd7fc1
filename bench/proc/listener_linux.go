package proc

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoListener means that no visible process of this machine listens on the address.
var ErrNoListener = errors.New("proc: no process listens there")

// Listener finds the process that listens on a TCP address of this machine.
func Listener(addr netip.AddrPort) (pid int, err error) {
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(b)) {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
			f := strings.Fields(line)
			const listen = "0A"
			if len(f) < 10 || f[3] != listen {
				continue
			}
			_, port, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseUint(port, 16, 16); err == nil && uint16(n) == addr.Port() {
				inode = f[9]
			}
		}
	}
	if inode == "" {
		return 0, ErrNoListener
	}
	want := fmt.Sprintf("socket:[%s]", inode)
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, fmt.Errorf("proc: %w", err)
	}
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil && target == want {
			return strconv.Atoi(strings.Split(l, "/")[2])
		}
	}
	return 0, ErrNoListener
}
