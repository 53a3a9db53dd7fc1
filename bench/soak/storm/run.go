package storm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/bench/soak/fault"
)

// Options of Run.
type Options struct {
	Programs fault.Programs // an empty one is built
	Sessions int            // on the node that is killed
	Healthy  int            // sessions of the other node that echo
	Every    time.Duration  // between two echoes of one of them
	Spread   time.Duration  // clients come back at a random time within it
	Backend  time.Duration  // what the backend takes to answer
	Log      func(format string, args ...any)
}

// Result has a Storm without tickets and one with them.
type Result struct {
	Sessions int   `json:"sessions"`
	Without  Storm `json:"without_tickets"`
	With     Storm `json:"with_tickets"`
}

// Storm is what happened after a node was killed. Times are in milliseconds.
type Storm struct {
	Current  Delays `json:"current_ms"`   // from the kill until sessions were current
	Usual    Delays `json:"usual_ms"`     // echoes of the healthy sessions before the kill
	Healthy  Delays `json:"healthy_ms"`   // and until all sessions were current
	Attempts int    `json:"attempts"`     // handshakes that failed until then
	Calls    int    `json:"calls"`        // requests to the backend until then
	Tickets  int    `json:"with_tickets"` // sessions that had a ticket
}

// Delays are percentiles.
type Delays struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func delays(all []time.Duration) (d Delays) {
	if len(all) == 0 {
		return d
	}
	slices.Sort(all)
	at := func(i int) float64 { return float64(all[i].Microseconds()) / 1000 }
	return Delays{at(len(all) / 2), at(len(all) * 99 / 100), at(len(all) - 1)}
}

// patience bounds the time until all sessions are current.
const patience = 2 * time.Minute

// Run measures reconnect storms with resume tickets and without.
func Run(ctx context.Context, o Options) (*Result, error) {
	dir, err := os.MkdirTemp("", "fanfare-storm-")
	if err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	defer os.RemoveAll(dir)
	if o.Programs, err = o.Programs.Build(ctx, dir); err != nil {
		return nil, err
	}
	r := &Result{Sessions: o.Sessions}
	for _, c := range []struct {
		name string
		to   *Storm
	}{{"without", &r.Without}, {"with", &r.With}} {
		sub, to := filepath.Join(dir, c.name), c.to
		if err := os.Mkdir(sub, 0o700); err != nil {
			return nil, fmt.Errorf("storm: %w", err)
		}
		if *to, err = run(ctx, &o, sub, c.name == "with"); err != nil {
			return nil, fmt.Errorf("storm: %s tickets: %w", c.name, err)
		}
		o.Log("%s tickets: all current after %.0f ms, healthy p99 %.1f ms, %d calls of the backend", c.name, to.Current.Max, to.Healthy.P99, to.Calls)
	}
	return r, nil
}

func run(ctx context.Context, o *Options, dir string, tickets bool) (s Storm, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	back, err := startBackend(o.Backend)
	if err != nil {
		return s, err
	}
	defer back.close()
	c, err := startCluster(ctx, o, dir, back.url, tickets)
	if err != nil {
		return s, err
	}
	defer c.end()
	echoes := newEchoes(ctx, c.b.public, o.Healthy, o.Every)
	defer echoes.end()
	var failed atomic.Int64
	clients := make([]*client, o.Sessions)
	var all sync.WaitGroup
	opening := make(chan struct{}, 64) // handshakes at a time
	for i := range clients {
		clients[i] = &client{user: fmt.Sprint("u", i), failed: &failed}
		all.Go(func() {
			opening <- struct{}{}
			defer func() { <-opening }()
			clients[i].open(ctx, c.a.public)
		})
	}
	all.Wait()
	for _, cl := range clients {
		if cl.conn == nil {
			return s, fmt.Errorf("a session was not opened: %w", cl.err)
		}
		if cl.ticket != "" {
			s.Tickets++
		}
	}
	o.Log("%d sessions are connected", len(clients))
	echoes.take()
	time.Sleep(2 * time.Second)
	usual, err := echoes.take()
	if err != nil {
		return s, err
	}
	s.Usual = delays(usual)
	before := back.calls.Load()
	failed.Store(0)
	current := make([]time.Duration, len(clients))
	began := time.Now()
	c.a.kill()
	for i, cl := range clients {
		all.Go(func() {
			cl.comeBack(ctx, c.b.public, o.Spread)
			current[i] = time.Since(began)
		})
	}
	all.Wait()
	s.Calls, s.Attempts = int(back.calls.Load()-before), int(failed.Load())
	during, err := echoes.take()
	if err != nil {
		return s, err
	}
	s.Healthy, s.Current = delays(during), delays(current)
	for _, cl := range clients {
		if cl.conn == nil {
			return s, fmt.Errorf("a session did not come back: %w", cl.err)
		}
		cl.conn.CloseNow()
	}
	return s, nil
}
