package server

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"fanfare/server/internal/handshake"
)

// rejectionLog logs the handshakes and connections that are rejected, so that an operator
// can answer why a client cannot connect: each at debug, and at info a summary every ten
// seconds, with a line for each reason.
type rejectionLog struct {
	log *slog.Logger // immutable

	mu    sync.Mutex
	since map[rejectionKey]*rejectionSum // the last summary; guarded by mu
	next  uint32                         // tick of the next summary; guarded by mu
}

type rejectionKey struct {
	status int
	reason string
}

type rejectionSum struct {
	count  int
	addr   netip.Addr // of the last one
	origin []byte     // likewise, cut
}

const (
	rejectionsEvery = 10 * ticksPerSecond
	// maxReasons bounds the lines of a summary: an Identifier may put anything into its
	// texts.
	maxReasons = 32
	maxOrigin  = 256
)

// note adds a rejection. origin is what the client's page says, empty if nothing.
func (rl *rejectionLog) note(r *Rejection, addr netip.Addr, origin []byte) {
	if rl.log.Enabled(context.Background(), slog.LevelDebug) {
		rl.log.Debug("handshake rejected", "status", r.Status, "text", r.Text, "address", addr, "origin", handshake.Quote(origin))
	}
	rl.mu.Lock()
	defer rl.mu.Unlock()
	key := rejectionKey{r.Status, r.Why()}
	sum := rl.since[key]
	if sum == nil && len(rl.since) >= maxReasons {
		key.reason = "other"
		sum = rl.since[key]
	}
	if sum == nil {
		sum = new(rejectionSum)
		if rl.since == nil {
			rl.since = make(map[rejectionKey]*rejectionSum)
		}
		rl.since[key] = sum
	}
	sum.count++
	sum.addr = addr
	sum.origin = append(sum.origin[:0], origin[:min(len(origin), maxOrigin)]...)
}

// summarize logs what has happened since the last summary, if that is long enough ago.
func (rl *rejectionLog) summarize(now uint32) {
	rl.mu.Lock()
	due := len(rl.since) > 0 && now >= rl.next
	rl.mu.Unlock()
	if due {
		rl.flush(now)
	}
}

// flush logs what has happened since the last summary.
func (rl *rejectionLog) flush(now uint32) {
	rl.mu.Lock()
	since := rl.since
	rl.since, rl.next = nil, now+rejectionsEvery
	rl.mu.Unlock()
	for key, sum := range since {
		attrs := []any{"status", key.status, "reason", key.reason, "count", sum.count, "last_address", sum.addr}
		if len(sum.origin) > 0 {
			attrs = append(attrs, "last_origin", handshake.Quote(sum.origin))
		}
		rl.log.Info("handshakes rejected", attrs...)
	}
}
