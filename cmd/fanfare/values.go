package main

import (
	"fmt"
	"log/slog"
	"net/netip"
)

// Values of flags whose own types would say what is wrong in words of Go.

// level of the log.
type level slog.Level

func (l *level) UnmarshalText(text []byte) error {
	if (*slog.Level)(l).UnmarshalText(text) != nil {
		return fmt.Errorf("want debug, info, warn or error, not %q", text)
	}
	return nil
}

// network is one, or a single address.
type network netip.Prefix

func (n *network) UnmarshalText(text []byte) error {
	if ip, err := netip.ParseAddr(string(text)); err == nil {
		*n = network(netip.PrefixFrom(ip, ip.BitLen()))
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("want an address like 10.0.0.1, or a network like 10.0.0.0/8, not %q", text)
	}
	*n = network(p)
	return nil
}

func prefixes(of []network) (ps []netip.Prefix) {
	for _, n := range of {
		ps = append(ps, netip.Prefix(n))
	}
	return ps
}
