package attack

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/load"
)

// verify checks all bounds but those on latency.
func (t *trial) verify(ctx context.Context) {
	f := t.attacked.healthy.faults()
	t.result.Lost = f.Closed + f.Refused
	t.recovered(ctx)
	var err error
	if t.metrics, err = t.attacked.server.Metrics(ctx); err != nil {
		t.broken("%v", err)
	}
	if grown := t.result.Peak - t.result.Rest; grown > t.memory {
		t.broken("the server's memory grew by %d MiB, at most %d MiB are allowed", grown>>20, t.memory>>20)
	}
	t.metric("fanfare_hook_panics_total", 0, 0)
	for what, n := range t.need {
		if got := t.result.Outcome[what]; t.cfg.Judge && what == "opened" && got < n {
			t.slow("%d of %d connected", got, n)
			continue
		}
		t.atLeast(what, n)
	}
	for what, n := range t.most {
		if got := t.result.Outcome[what]; got > n {
			t.broken("%d attackers ended with %q, at most %d are allowed: %v", got, what, n, t.result.Outcome)
		}
	}
	for _, name := range t.counters {
		t.metric(name, 1, 1e18)
	}
	if t.check != nil {
		t.check(t)
	}
}

// recovered waits until the server has the connections of the healthy clients only, and accepts a new one.
func (t *trial) recovered(parent context.Context) {
	limit := recovery
	if !t.cfg.Judge {
		limit = t.patience()
	}
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	s, want := t.attacked.server, float64(2*t.attacked.healthy.clients)
	for {
		stats, err := s.Stats(ctx)
		if err == nil && stats["connections"] == want && stats["sessions"] == want {
			break
		}
		if ctx.Err() != nil {
			t.broken("%v after the attack the server has %v connections and %v sessions, want %v: %v",
				limit, stats["connections"], stats["sessions"], want, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	m := &attackers{Order: Order{Addr: s.Listen}, ctx: ctx, counts: Outcome{}}
	for {
		if c := m.open(0, "/ws?user=late"); c != nil {
			c.Close()
			return
		}
		if ctx.Err() != nil {
			t.broken("%v after the attack the server accepts no connection: %v", limit, m.counts)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// recovery is how long an attack may have effects: closing handshakes of rejected clients take 5 s, and the server
// checks its memory once a second.
const recovery = 10 * time.Second

func (t *trial) broken(format string, args ...any) {
	t.result.Broken = append(t.result.Broken, fmt.Sprintf(format, args...))
}

// slow records that the attack did not reach its strength.
func (t *trial) slow(format string, args ...any) {
	t.result.Slow = append(t.result.Slow, "the attackers had too little processor time: "+fmt.Sprintf(format, args...))
}

func (t *trial) note(format string, args ...any) {
	t.result.Notes = append(t.result.Notes, fmt.Sprintf(format, args...))
}

// atLeast requires that so many attackers came to that end.
func (t *trial) atLeast(what string, n int) {
	if got := t.result.Outcome[what]; got < n {
		t.broken("%d attackers ended with %q, want at least %d", got, what, n)
	}
}

// metric requires that a metric of the server is in a range. An attack that did not reach its strength need not come to
// the least value.
func (t *trial) metric(name string, least, most float64) {
	if len(t.result.Slow) > 0 {
		least = 0
	}
	if v, ok := t.metrics[name]; !ok || v < least || v > most {
		t.broken("%s is %v, want %v to %v", name, v, least, most)
	}
}

// broadcasts is the further load of the attack on queues.
func broadcasts(ctx context.Context, s *side) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.healthy.broadcast(context.WithoutCancel(ctx), 4*kib) != nil {
			return // the clients miss it, and say so
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// dropPackets drops the packets of the attackers and waits until the server has closed their sessions.
func dropPackets(ctx context.Context, t *trial) {
	// longest is between two looks, the second of which may be the one that sees the end.
	var longest time.Duration
	sessions := func(want int) bool {
		looked := load.Now()
		for ctx.Err() == nil {
			stats, err := t.attacked.server.Stats(ctx)
			now := load.Now()
			longest, looked = max(longest, time.Duration(now-looked)), now
			if err == nil && int(stats["sessions"]) == want {
				return true
			}
			if t.twin != nil {
				t.twin.server.Stats(ctx) // so that asking costs both the same
			}
			time.Sleep(20 * time.Millisecond)
		}
		return false
	}
	healthy := 2 * t.attacked.healthy.clients
	if !sessions(healthy + t.count) {
		if t.cfg.Judge {
			t.slow("the server never had the %d sessions of the attackers", t.count)
			return
		}
		t.broken("the server never had the %d sessions of the attackers", t.count)
		return
	}
	if err := t.space.drop(); err != nil {
		t.broken("%v", err)
		return
	}
	began := load.Now()
	longest = 0
	if !sessions(healthy) {
		t.broken("the server did not detect the half-open connections")
		return
	}
	took := time.Duration(load.Now() - began)
	t.note("all half-open connections were closed within %v; interval and timeout are %v and %v", took.Round(10*time.Millisecond), interval, timeout)
	bound := interval + timeout + slack
	switch {
	case !t.cfg.Judge || took <= bound:
	case took <= bound+longest:
		// The machine may have stood still for as long, and the server with it. Another run decides.
		t.result.Slow = append(t.result.Slow, fmt.Sprintf("the server closed half-open connections after %v, and was not seen for %v of that", took, longest))
	default:
		t.broken("the server closed half-open connections after %v, want %v", took, bound)
	}
}

// slack is two ticks of the server's clock, and the time of a query.
const slack = 500 * time.Millisecond
