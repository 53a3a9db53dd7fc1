package rejectlog

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"

	"fanfare/server/internal/handshake"
)

// unspoken counts handshakes of clients that offered only sub-protocols which the endpoint
// does not have. They are accepted (RFC 6455 section 4.2.2), and browsers then end the
// connection (section 4.1).
type unspoken struct {
	n       int
	addr    netip.Addr // of the last one
	origin  []byte     // likewise, cut
	offered string     // likewise
}

// Unspoken adds such a handshake. offered is the Sec-WebSocket-Protocol field.
func (l *Log) Unspoken(offered []byte, addr netip.Addr, origin []byte) {
	names := protocolNames(offered)
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("no offered sub-protocol is spoken here", "offered", names, "address", addr, "origin", handshake.Quote(origin))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u := &l.unspoken
	u.n++
	u.addr, u.offered = addr, names
	u.origin = append(u.origin[:0], origin[:min(len(origin), maxOrigin)]...)
}

func (u *unspoken) log(log *slog.Logger) {
	if u.n == 0 {
		return
	}
	attrs := []any{"count", u.n, "last_offered", u.offered, "last_address", u.addr}
	if len(u.origin) > 0 {
		attrs = append(attrs, "last_origin", handshake.Quote(u.origin))
	}
	log.Info("no offered sub-protocol is spoken here, so browsers close the connection", attrs...)
}

const (
	maxProtocols = 4
	// maxProtocol is longer than any registered name. Some clients put a token there, which
	// is longer and must not be logged.
	maxProtocol = 24
)

// protocolNames returns what may be logged of the names that a client offers.
func protocolNames(offered []byte) string {
	var names []string
	for name := range strings.SplitSeq(string(offered), ",") {
		name = strings.TrimSpace(name)
		switch {
		case len(names) == maxProtocols:
			return strings.Join(append(names, "…"), ", ")
		case len(name) > maxProtocol:
			names = append(names, "("+strconv.Itoa(len(name))+" bytes)")
		default:
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
