package settings

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
)

// level is a log level. slog.Level describes errors in terms of Go.
type level slog.Level

func (l *level) UnmarshalText(text []byte) error {
	// slog knows levels in between, too: info+2.
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(string(text))) || (*slog.Level)(l).UnmarshalText(text) != nil {
		return fmt.Errorf("want debug, info, warn or error, not %q", text)
	}
	return nil
}

// network is a network, or a single address.
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
	if p != p.Masked() {
		return fmt.Errorf("%s is an address of the network %v: want one or the other", text, p.Masked())
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
