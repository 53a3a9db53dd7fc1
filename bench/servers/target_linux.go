package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"fanfare/bench/proc"
)

// A Target is a server that runs already: any WebSocket server can be measured by its URL.
type Target struct {
	Addr netip.AddrPort
	Path string // request target of all connections; empty: the server has /echo and /ws
	API  string // base URL of the HTTP API; may be empty
}

// ParseTarget parses NAME=ws://host:port[/path] or only the URL, and the URL of an API, which may be empty.
//
// With a path, all connections request that path, so an echo server needs only its URL. Without a path the server must have
// /echo and /ws. Scenarios that need an API exclude a server without one.
func ParseTarget(arg, api string) (spec Spec, err error) {
	name, raw, named := strings.Cut(arg, "=")
	if !named || strings.Contains(name, "/") {
		name, raw = "target", arg
	}
	u, err := url.Parse(raw)
	if err != nil {
		return spec, fmt.Errorf("servers: target: %w", err)
	}
	if u.Scheme != "ws" || u.Hostname() == "" {
		return spec, fmt.Errorf("servers: target %q: want ws://host:port", raw)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	addr, err := resolve(u.Hostname(), port)
	if err != nil {
		return spec, err
	}
	t := &Target{Addr: addr, API: strings.TrimSuffix(api, "/")}
	if u.Path != "" && u.Path != "/" {
		t.Path = u.RequestURI()
	}
	return Spec{Name: name, About: raw, Target: t, Pushes: t.API != ""}, nil
}

func resolve(host, port string) (netip.AddrPort, error) {
	ips, err := net.LookupIP(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("servers: target: %w", err)
	}
	if len(ips) == 0 {
		return netip.AddrPort{}, errors.New("servers: target: no address for " + host)
	}
	return netip.ParseAddrPort(net.JoinHostPort(ips[0].String(), port))
}

// open finds the process of the target, if it runs on this machine.
func (t *Target) open(_ context.Context, spec Spec) (*Server, error) {
	pid, err := proc.Listener(t.Addr)
	if err != nil && t.Addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("servers: %s: %w", spec.Name, err)
	}
	s := &Server{Spec: spec, Listen: t.Addr, API: t.API, path: t.Path, pid: pid, http: newAPIClient()}
	s.http.Dial = s.dialAPI
	return s, nil
}
