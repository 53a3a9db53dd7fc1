package listen

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// Open opens a listener: "host:port" for TCP, "unix:PATH" for a Unix socket. A socket
// that a killed process has left is removed.
//
// "unix:PATH?mode=0660&owner=USER:GROUP" sets the mode, in octal, and the owner of a
// socket: names or numbers, of which one may be left out, as in "USER" or ":GROUP".
// Without a mode, the umask decides.
func Open(addr string) (net.Listener, error) {
	rest, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return net.Listen("tcp", addr)
	}
	path, access, err := parseUnix(rest)
	if err != nil {
		return nil, err
	}
	removeStale(path)
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := access.apply(path); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// Validate returns what is wrong with an address for Open, or nil. It does not use the
// address: it is for programs that check a configuration before they run it.
func Validate(addr string) error {
	if rest, ok := strings.CutPrefix(addr, "unix:"); ok {
		_, _, err := parseUnix(rest)
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%q is not an address: want HOST:PORT, with a port up to 65535, or unix:PATH", addr)
	}
	return nil
}

// IsLoopback reports whether only this machine can reach a listener at addr:
// loopback, or a Unix socket.
func IsLoopback(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// socketAccess says who may use a Unix socket. -1: as it is created.
type socketAccess struct{ mode, uid, gid int }

// maxUnixPath is 107 on Linux: a NUL ends the path (unix(7)).
const maxUnixPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// parseUnix reads what follows "unix:".
func parseUnix(rest string) (path string, access socketAccess, err error) {
	access = socketAccess{-1, -1, -1}
	path, query, _ := strings.Cut(rest, "?")
	if path == "" {
		return "", access, fmt.Errorf("%q has no path: want unix:PATH", "unix:"+rest)
	}
	if len(path) > maxUnixPath {
		return "", access, fmt.Errorf("the path of a Unix socket, %q, has %d bytes: want at most %d", path, len(path), maxUnixPath)
	}
	settings, err := url.ParseQuery(query)
	if err != nil {
		return "", access, fmt.Errorf("%q: %w", "unix:"+rest, err)
	}
	for name, values := range settings {
		switch {
		case name != "mode" && name != "owner":
			err = fmt.Errorf("%q has the unknown setting %q: want mode or owner", "unix:"+rest, name)
		case len(values) > 1:
			err = fmt.Errorf("%q has %s more than once", "unix:"+rest, name)
		case name == "mode":
			access.mode, err = parseMode(values[0])
		default:
			access.uid, access.gid, err = parseOwner(values[0])
		}
		if err != nil {
			return "", access, err
		}
	}
	return path, access, nil
}

func parseMode(s string) (int, error) {
	n, err := strconv.ParseUint(s, 8, 16)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("mode %q of a Unix socket: want octal digits like 0660", s)
	}
	return int(n), nil
}

func parseOwner(s string) (uid, gid int, err error) {
	uid, gid = -1, -1
	name, group, _ := strings.Cut(s, ":")
	if name == "" && group == "" {
		return 0, 0, fmt.Errorf("owner %q of a Unix socket: want USER, USER:GROUP or :GROUP", s)
	}
	if name != "" {
		id := name
		if u, err := user.Lookup(name); err == nil {
			id = u.Uid
		}
		if uid, err = parseID("user", id); err != nil {
			return 0, 0, err
		}
	}
	if group != "" {
		id := group
		if g, err := user.LookupGroup(group); err == nil {
			id = g.Gid
		}
		if gid, err = parseID("group", id); err != nil {
			return 0, 0, err
		}
	}
	return uid, gid, nil
}

func parseID(what, s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("owner of a Unix socket: there is no %s %q", what, s)
	}
	return int(n), nil
}

// apply sets the owner before the mode, so that no one else is let in meanwhile.
func (a socketAccess) apply(path string) error {
	if a.uid >= 0 || a.gid >= 0 {
		if err := os.Lchown(path, a.uid, a.gid); err != nil {
			return err
		}
	}
	if a.mode >= 0 {
		return os.Chmod(path, fs.FileMode(a.mode))
	}
	return nil
}

// removeStale removes a socket on which no process listens.
func removeStale(path string) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
	} else if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
}
