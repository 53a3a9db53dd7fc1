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

// A Target is a server that somebody else started: any WebSocket server can be measured by its URL.
type Target struct {
	Addr netip.AddrPort
	Path string // request target for every connection; empty where the server has /echo and /ws
	API  string // base URL of the HTTP API; empty where the server has none
}

// ParseTarget reads NAME=ws://host:port[/path] or the URL alone, and the URL of an API, which may be empty.
//
// With a path, every connection asks for that path, and what needs the API is left out; so an echo server
// needs nothing but its URL. Without a path the server has to know /echo and /ws.
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

// open looks for the target's process, which a server on this machine has.
func (t *Target) open(_ context.Context, spec Spec) (*Server, error) {
	pid, err := proc.Listener(t.Addr)
	if err != nil && t.Addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("servers: %s: %w", spec.Name, err)
	}
	return &Server{Spec: spec, Listen: t.Addr, API: t.API, path: t.Path, pid: pid, http: newAPIClient()}, nil
}
