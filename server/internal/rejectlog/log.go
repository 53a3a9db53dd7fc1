// Package rejectlog logs the handshakes and connections that a server rejects, and handshakes of
// clients that offer only sub-protocols which the server does not have.
package rejectlog

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// Log lets an operator answer why a client cannot connect: it logs each rejection at
// debug, and at info a summary every ten seconds, with a line for each reason.
type Log struct {
	log *slog.Logger // immutable

	mu    sync.Mutex
	since map[group]*count // rejections since the last summary; guarded by mu
	next  uint32           // tick of the next summary; guarded by mu

	unspoken unspoken // since the last summary; guarded by mu
}

// group identifies rejections that share a line of a summary.
type group struct {
	status int
	reason string
}

type count struct {
	n      int
	addr   netip.Addr // of the last rejection
	origin []byte     // of the last rejection, cut
}

const (
	every = 10 * limit.TicksPerSecond
	// maxReasons bounds the lines of a summary: an Identifier may put anything into its
	// texts.
	maxReasons = 32
	maxOrigin  = 256
)

// New returns a Log that writes to log.
func New(log *slog.Logger) *Log { return &Log{log: log} }

// Note adds a rejection. origin is the Origin field of the request, empty if there is none.
func (l *Log) Note(r *handshake.Rejection, addr netip.Addr, origin []byte) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("handshake rejected", append(status(r.Status), "text", r.Text, "address", addr, "origin", handshake.Quote(origin))...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g := group{r.Status, r.Why()}
	c := l.since[g]
	if c == nil && len(l.since) >= maxReasons {
		g.reason = "other"
		c = l.since[g]
	}
	if c == nil {
		c = new(count)
		if l.since == nil {
			l.since = make(map[group]*count)
		}
		l.since[g] = c
	}
	c.n++
	c.addr = addr
	c.origin = append(c.origin[:0], origin[:min(len(origin), maxOrigin)]...)
}

// status returns the attribute of a status; none for 0, if the client got no HTTP answer.
func status(code int) []any {
	if code == 0 {
		return nil
	}
	return []any{"status", code}
}

// Summarize logs a summary if one is due. now is a tick.
func (l *Log) Summarize(now uint32) {
	l.mu.Lock()
	due := (len(l.since) > 0 || l.unspoken.n > 0) && now >= l.next
	l.mu.Unlock()
	if due {
		l.Flush(now)
	}
}

// Flush logs the rejections since the last summary.
func (l *Log) Flush(now uint32) {
	l.mu.Lock()
	since := l.since
	l.since, l.next = nil, now+every
	u := l.unspoken
	l.unspoken = unspoken{}
	l.mu.Unlock()
	u.log(l.log)
	for g, c := range since {
		attrs := append(status(g.status), "reason", g.reason, "count", c.n, "last_address", c.addr)
		if len(c.origin) > 0 {
			attrs = append(attrs, "last_origin", handshake.Quote(c.origin))
		}
		l.log.Info("handshakes rejected", attrs...)
	}
}
