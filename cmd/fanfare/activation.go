package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/cmd/fanfare/internal/upgrade"
)

// Names of the sockets that a service manager passes (FileDescriptorName= in
// systemd.socket(5)).
const (
	publicSocket = "public"
	apiSocket    = "api"
)

// inherited are the listeners that the service manager has opened (sd_listen_fds(3)), by
// name. A nil *inherited has none.
type inherited struct {
	by      map[string]net.Listener
	managed map[string]bool // the service manager has opened it
}

// activated reports whether the service manager has opened a listener.
func (in *inherited) activated(name string) bool { return in != nil && in.managed[name] }

// inheritListeners takes over the sockets that LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES
// announce. A single socket may have any name: it is the public listener.
func inheritListeners() (*inherited, error) {
	files := activation.Files(true)
	in := &inherited{by: make(map[string]net.Listener), managed: make(map[string]bool)}
	var errs []error
	for i, f := range files {
		name := f.Name()
		if len(files) == 1 && name != apiSocket {
			name = publicSocket
		}
		errs = append(errs, in.add(name, i, f))
		f.Close() // the listener has a duplicate
	}
	if err := errors.Join(errs...); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// firstSocket is SD_LISTEN_FDS_START.
const firstSocket = 3

func (in *inherited) add(name string, i int, f *os.File) error {
	where := fmt.Sprintf("LISTEN_FDS: socket %q, descriptor %d,", name, firstSocket+i)
	if name != publicSocket && name != apiSocket {
		return fmt.Errorf("%s has an unknown name: want FileDescriptorName=%s or %s in its socket unit", where, publicSocket, apiSocket)
	}
	if in.by[name] != nil {
		return fmt.Errorf("%s is the second of its name: want one address for each listener", where)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("%s does not listen for streams: %w", where, errors.Unwrap(err))
	}
	in.by[name], in.managed[name] = ln, true
	return nil
}

func (in *inherited) close() {
	if in != nil {
		for _, ln := range in.by {
			ln.Close()
		}
	}
}

// start calls serve with the listener of that name, or else listen, which opens one.
func (in *inherited) start(name string, listen func() error, serve func(net.Listener) error) error {
	if in == nil || in.by[name] == nil {
		return listen()
	}
	return serve(in.by[name])
}

// setAddresses puts the addresses of inherited listeners into the flags, so that what is decided
// by an address, such as whether clients need a token, is decided by the one in force.
func (in *inherited) setAddresses(flags *settings.Serve) {
	if in == nil {
		return
	}
	for _, l := range []struct {
		name string
		flag *string
	}{{publicSocket, &flags.Listen}, {apiSocket, &flags.API}} {
		if ln := in.by[l.name]; ln != nil {
			*l.flag = addressOf(ln.Addr())
		}
	}
}

// check rejects --listen and --api if the service manager has opened the listener
// at another address.
func (in *inherited) check(flags *settings.Serve) error {
	for _, l := range []struct{ name, flag, addr string }{{publicSocket, "listen", flags.Listen}, {apiSocket, "api", flags.API}} {
		if ln := in.by[l.name]; ln != nil && flags.Given(l.flag) && !sameAddress(l.addr, ln.Addr()) {
			return fmt.Errorf("--%s is %s, but the service manager has opened the %s socket at %s: leave out --%s, or change the socket unit",
				l.flag, l.addr, l.name, addressOf(ln.Addr()), l.flag)
		}
	}
	return nil
}

// addressOf is the address as --listen takes it.
func addressOf(addr net.Addr) string {
	if addr.Network() == "unix" {
		return "unix:" + addr.String()
	}
	return addr.String()
}

func sameAddress(flag string, addr net.Addr) bool {
	if path, ok := strings.CutPrefix(flag, "unix:"); ok {
		path, _, _ = strings.Cut(path, "?")
		return addr.Network() == "unix" && path == addr.String()
	}
	is, ok := addr.(*net.TCPAddr)
	want, err := net.ResolveTCPAddr("tcp", flag)
	if !ok || err != nil || want.Port != is.Port {
		return false
	}
	all := func(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }
	return want.IP.Equal(is.IP) || all(want.IP) && all(is.IP)
}

// files returns duplicates of the listeners, for another process.
func (in *inherited) files(flags *settings.Serve) (all []upgrade.Listener, err error) {
	for _, l := range []struct{ name, flag string }{{publicSocket, flags.Listen}, {apiSocket, flags.API}} {
		ln, ok := in.by[l.name].(interface{ File() (*os.File, error) })
		if !ok {
			continue
		}
		f, err := ln.File()
		if err != nil {
			return all, fmt.Errorf("%s listener: %w", l.name, err)
		}
		all = append(all, upgrade.Listener{Name: l.name, Flag: l.flag, Activated: true, File: f})
	}
	return all, nil
}
