package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"fanfare/bench/load"
	"fanfare/bench/proc"
	"fanfare/bench/servers"
)

// Config says how attacks are run.
type Config struct {
	Fanfare  string   // the program
	Worker   []string // argument vector of a load client
	Attacker []string // of a process of attackers
	Clients  int      // healthy ones; a multiple of 8
	Before   time.Duration
	During   time.Duration
	// Strict wants the latency to stay in its bounds. Without it only what does not depend on time is wanted:
	// for machines that do other things too.
	Strict bool
}

// A Result is what came of an attack.
type Result struct {
	Attack  string   `json:"attack"`
	Load    string   `json:"load"`
	Before  Feel     `json:"before"`
	During  Feel     `json:"during"`
	Rest    int64    `json:"rest"`   // RSS before, in bytes
	Peak    int64    `json:"peak"`   // greatest RSS of the server, in bytes
	Bound   int64    `json:"bound"`  // on how much it may grow, in bytes
	Kernel  int64    `json:"kernel"` // greatest sum of all socket buffers of the machine, in bytes
	CPU     float64  `json:"cpu"`    // cores that the server used during the attack
	Mob     float64  `json:"mob"`    // cores that the attackers used
	Lost    int      `json:"lost"`   // connections of the healthy
	Outcome Outcome  `json:"outcome"`
	Notes   []string `json:"notes,omitempty"`
	Unsure  []string `json:"unsure,omitempty"` // why bounds on latency could not be judged
	Missed  []string `json:"missed,omitempty"` // bounds on latency, in this try
	Broken  []string `json:"broken,omitempty"` // bounds
}

// running is one attack under way.
type running struct {
	Attack
	cfg     Config
	server  *servers.Server
	healthy *healthy
	space   *namespace // nil: the attackers come over loopback
	order   Order
	metrics map[string]float64
	result  *Result
}

// Run runs one attack. An error says that it could not be run; what the server did wrong is in the result.
func Run(ctx context.Context, a Attack, cfg Config) (*Result, error) {
	cfg.During = max(cfg.During, a.least)
	r := &running{Attack: a, cfg: cfg, result: &Result{Attack: a.Name, Load: a.Load, Bound: a.memory}}
	r.order = Order{Attack: a.Name, Count: a.count, Time: cfg.During}
	if a.own {
		space, err := newNamespace()
		if err != nil {
			return nil, err
		}
		defer space.remove()
		r.space = space
	}
	if err := r.serve(ctx); err != nil {
		return nil, err
	}
	defer r.server.Stop()
	var err error
	if r.healthy, err = startHealthy(ctx, r.server, cfg.Worker, cfg.Clients); err != nil {
		return nil, err
	}
	defer r.healthy.close()
	return r.result, r.run(ctx)
}

// serve starts the server as the attack wants it.
func (r *running) serve(ctx context.Context) error {
	spec := servers.Spec{Name: r.Name, Pushes: true, Args: func(a servers.Addresses, ping time.Duration) []string {
		listen := a.Listen
		if !r.loopback {
			_, port, _ := net.SplitHostPort(a.Listen)
			listen = "0.0.0.0:" + port
		}
		argv := append(append(asServer(), "env"), r.environ...)
		if r.files > 0 {
			argv = append(argv, "sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, r.files), "sh")
		}
		argv = append(argv, r.cfg.Fanfare, "serve", "--listen", listen, "--insecure-identity", "--api", a.API, "--data-dir", "none", "--log-level", "warn")
		return append(argv, r.flags...)
	}}
	s, err := servers.StartWithKey(ctx, spec, servers.PingInterval, keyOf(r.environ))
	if err != nil {
		return err
	}
	r.server = s
	r.order.Addr, r.order.API = s.Listen, strings.TrimPrefix(s.API, "http://")
	if r.space != nil {
		r.order.Addr = netip.AddrPortFrom(r.space.host, s.Listen.Port())
	}
	return nil
}

func keyOf(environ []string) string {
	for _, e := range environ {
		if key, ok := strings.CutPrefix(e, "FANFARE_API_KEY="); ok {
			return key
		}
	}
	return ""
}

func (r *running) run(ctx context.Context) (err error) {
	pid := r.server.PID()
	always := func(ctx context.Context) {
		if r.always != nil {
			r.always(ctx, r)
		}
	}
	if r.result.Before, err = r.healthy.feel(ctx, r.cfg.Before, always); err != nil {
		return fmt.Errorf("attack: %s: before it: %w", r.Name, err)
	}
	if r.result.Rest, err = proc.RSS(pid); err != nil {
		return err
	}
	// Linux counts the peak from here.
	if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	cpu, err := proc.CPU(pid)
	if err != nil {
		return err
	}
	began := time.Now()
	mob, err := startMob(ctx, r)
	if err != nil {
		return err
	}
	defer mob.stop()
	besideCtx, stop := context.WithCancel(ctx)
	defer stop()
	var others sync.WaitGroup
	others.Go(func() { r.watchKernel(besideCtx) })
	if r.beside != nil {
		others.Go(func() {
			select {
			case <-mob.ready:
				r.beside(besideCtx, r)
			case <-besideCtx.Done():
			}
		})
	}
	r.result.During, err = r.healthy.feel(ctx, r.cfg.During, always)
	stop()
	others.Wait()
	took := time.Since(began)
	if err != nil {
		r.broken("%v", err)
	}
	if after, err := proc.CPU(pid); err == nil {
		r.result.CPU = (after - cpu).Seconds() / took.Seconds()
	} else {
		r.broken("the server is gone: %.500s", r.server.Log())
		return nil
	}
	if r.result.Outcome, r.result.Mob, err = mob.outcome(took); err != nil {
		return err
	}
	if r.result.Peak, err = proc.Peak(pid); err != nil {
		return err
	}
	r.judge(ctx)
	return ctx.Err()
}

// watchKernel notes the greatest size of the socket buffers.
func (r *running) watchKernel(ctx context.Context) {
	for ctx.Err() == nil {
		if k, err := proc.KernelMemory(); err == nil {
			r.result.Kernel = max(r.result.Kernel, k.TCP)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// judge compares with the bounds.
func (r *running) judge(ctx context.Context) {
	f := r.healthy.faults()
	r.result.Lost = f.Closed + f.Refused
	r.recovered(ctx)
	var err error
	if r.metrics, err = r.server.Metrics(ctx); err != nil {
		r.broken("%v", err)
	}
	if grown := r.result.Peak - r.result.Rest; grown > r.memory {
		r.broken("the server grew by %d MiB, which may be %d", grown>>20, r.memory>>20)
	}
	if r.metrics["fanfare_hook_panics_total"] > 0 {
		r.broken("a panic")
	}
	if r.cfg.Strict {
		r.result.slower()
	}
	if r.check != nil {
		r.check(r)
	}
}

// recovered waits until the server has only the connections of the healthy, and tries whether it takes new
// ones.
func (r *running) recovered(parent context.Context) {
	ctx, cancel := context.WithTimeout(parent, recovery)
	defer cancel()
	want := float64(2 * r.healthy.clients)
	for {
		stats, err := r.server.Stats(ctx)
		if err == nil && stats["connections"] == want && stats["sessions"] == want {
			break
		}
		if ctx.Err() != nil {
			r.broken("%v after the attack the server has %v connections and %v sessions, not %v: %v",
				recovery, stats["connections"], stats["sessions"], want, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ctx, cancel = context.WithTimeout(parent, recovery)
	defer cancel()
	m := &mob{Order: Order{Addr: r.server.Listen}, ctx: ctx, counts: Outcome{}}
	for {
		if c := m.open(0, "/ws?user=late"); c != nil {
			c.Close()
			return
		}
		if ctx.Err() != nil {
			r.broken("%v after the attack the server takes no connection: %v", recovery, m.counts)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// recovery is how long it may take until an attack has left no trace: the closing handshakes of those that
// were refused or failed take 5 s, and memory is looked at once a second.
const recovery = 10 * time.Second

func (r *running) broken(format string, args ...any) {
	r.result.Broken = append(r.result.Broken, fmt.Sprintf(format, args...))
}

func (r *running) note(format string, args ...any) {
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}

// want asks that so many attackers, at the least, came to that end.
func (r *running) want(what string, least int) {
	if n := r.result.Outcome[what]; n < least {
		r.broken("%q of the attackers %d times, not %d", what, n, least)
	}
}

func (r *running) most(what string, most int) {
	if n := r.result.Outcome[what]; n > most {
		r.broken("%q of the attackers %d times, not at most %d: %v", what, n, most, r.result.Outcome)
	}
}

// limited asks that the server counted what that limit stopped.
func (r *running) limited(by string) {
	r.metric(fmt.Sprintf("fanfare_limited_total{limit=%q}", by), 1, 1e18)
}

func (r *running) metric(name string, least, most float64) {
	if v, ok := r.metrics[name]; !ok || v < least || v > most {
		r.broken("%s is %v, not from %v to %v", name, v, least, most)
	}
}

// broadcasts are what goes on beside the attack on the queues.
func broadcasts(ctx context.Context, r *running) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := r.healthy.broadcast(context.WithoutCancel(ctx), 4*kib); err != nil {
			r.broken("%v", err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// blackHole drops the packets of the attackers and waits until the server has found out.
func blackHole(ctx context.Context, r *running) {
	for {
		if stats, err := r.server.Stats(ctx); err != nil || int(stats["sessions"]) == 2*r.healthy.clients+r.count {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := r.space.drop(); err != nil {
		r.broken("%v", err)
		return
	}
	began := load.Now()
	bound := interval + timeout + slack
	for ctx.Err() == nil {
		stats, err := r.server.Stats(ctx)
		if err == nil && int(stats["sessions"]) == 2*r.healthy.clients {
			took := time.Duration(load.Now() - began)
			r.note("all found within %v; interval and timeout are %v and %v", took.Round(10*time.Millisecond), interval, timeout)
			if took > bound {
				r.broken("half-open peers were found after %v", took)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.broken("half-open peers were not found")
}

// slack is two ticks of the server's clock, and what asking it takes.
const slack = 500 * time.Millisecond

// ErrNoNamespace: there are no network namespaces here, or not for this user.
var ErrNoNamespace = errors.New("attack: this needs root, iproute2, and network namespaces")
