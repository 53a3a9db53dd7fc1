package attack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fanfare/bench/proc"
	"fanfare/bench/servers"
)

// Config configures Run.
type Config struct {
	Fanfare  string   // the program
	Worker   []string // argument vector of a load client
	Attacker []string // of a process of attackers
	Clients  int      // healthy clients of each server; a multiple of posters
	Before   time.Duration
	During   time.Duration
	// Judge compares the latency with that of a twin server. If it is false, only checks that do not depend on time
	// are made, and each attack runs until its counts are reached.
	Judge bool
}

// side is one of the two servers of a trial, and its healthy clients.
type side struct {
	server  *servers.Server
	healthy *healthy
}

func (s *side) close() {
	if s == nil {
		return
	}
	if s.healthy != nil {
		s.healthy.close()
	}
	s.server.Stop()
}

// trial is one run of an attack.
type trial struct {
	Attack
	cfg      Config
	attacked *side
	twin     *side      // nil: latency is not judged
	space    *namespace // nil: the attackers come over loopback
	order    Order
	metrics  map[string]float64
	result   *Result
}

// Run runs an attack once. The error says that it could not be run; what the server did wrong is in the result.
func Run(ctx context.Context, a Attack, cfg Config) (*Result, error) {
	cfg.During = max(cfg.During, a.least)
	t := &trial{Attack: a, cfg: cfg, result: &Result{Attack: a.Name, Load: a.Load, Bound: a.memory, Tries: 1}}
	t.order = Order{Attack: a.Name, Count: a.count, Need: a.need}
	if a.own {
		space, err := newNamespace()
		if err != nil {
			return nil, err
		}
		defer space.remove()
		t.space = space
	}
	defer func() { t.attacked.close(); t.twin.close() }()
	var err error
	if t.attacked, err = t.serve(ctx, attackedPriority, 0); err != nil {
		return nil, err
	}
	if cfg.Judge {
		if t.twin, err = t.serve(ctx, twinPriority, 2); err != nil {
			return nil, err
		}
	}
	s := t.attacked.server
	t.order.Addr, t.order.API = s.Listen, strings.TrimPrefix(s.API, "http://")
	if t.space != nil {
		t.order.Addr = netip.AddrPortFrom(t.space.host, s.Listen.Port())
	}
	return t.result, t.run(ctx)
}

// serve starts a server with the flags of the attack, and connects healthy clients, whose load clients are numbered
// from number.
func (t *trial) serve(ctx context.Context, priority, number int) (_ *side, err error) {
	spec := servers.Spec{Name: t.Name, Pushes: true, Args: func(a servers.Addresses, ping time.Duration) []string {
		where := []string{"--listen", a.Listen}
		if !t.loopback {
			_, port, _ := net.SplitHostPort(a.Listen)
			where = []string{"--listen", "0.0.0.0:" + port, "--insecure-identity"}
		}
		argv := append(append(asServer(priority), "env"), t.environ...)
		if t.files > 0 {
			argv = append(argv, "sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, t.files), "sh")
		}
		argv = append(argv, t.cfg.Fanfare, "serve", "--echo", "--api", a.API, "--data-dir", "none", "--log-level", "warn")
		return slices.Concat(argv, where, t.flags)
	}}
	s := &side{}
	if s.server, err = servers.StartWithKey(ctx, spec, servers.PingInterval, keyOf(t.environ)); err != nil {
		return nil, err
	}
	if s.healthy, err = startHealthy(ctx, s.server, t.cfg.Worker, t.cfg.Clients, number, cmp.Or(t.api, posters+2)); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func keyOf(environ []string) string {
	for _, e := range environ {
		if key, ok := strings.CutPrefix(e, "FANFARE_API_KEY="); ok {
			return key
		}
	}
	return ""
}

// errHarm says that healthy clients lost connections or messages. What they lost is in the result.
var errHarm = errors.New("attack: healthy clients were harmed")

// measure runs the healthy clients of both servers, second by second and in the same seconds, until d has passed
// and all of enough are closed, or limit has passed.
func (t *trial) measure(ctx context.Context, d, limit time.Duration, enough ...<-chan struct{}) (seconds []Second, err error) {
	began := time.Now()
	for {
		var s Second
		var of [2]error
		var both sync.WaitGroup
		for i, side := range []*side{t.attacked, t.twin} {
			if side == nil {
				continue
			}
			both.Go(func() {
				felt, err := side.healthy.second(ctx, min(d, time.Second), func(ctx context.Context) {
					if t.load != nil {
						t.load(ctx, side)
					}
				})
				of[i] = err
				*[]*Healthy{&s.Attacked, &s.Twin}[i] = felt
			})
		}
		both.Wait()
		seconds = append(seconds, s)
		if ctx.Err() != nil {
			return seconds, ctx.Err()
		}
		for i, name := range []string{"the attacked server", "the twin"} {
			if of[i] != nil {
				t.broken("healthy clients of %s: %v", name, of[i])
				err = errHarm
			}
		}
		took := time.Since(began)
		if err != nil || took > limit || took > d-time.Second/4 && closed(enough...) {
			return seconds, err
		}
	}
}

func closed(all ...<-chan struct{}) bool {
	for _, c := range all {
		select {
		case <-c:
		default:
			return false
		}
	}
	return true
}

// patience is how much longer an attack may take to reach its counts. Only a test waits for a slow machine; where
// latency is judged, the time is shared by all attacks.
func (t *trial) patience() time.Duration {
	if t.cfg.Judge {
		return 10 * time.Second
	}
	return time.Minute
}

func (t *trial) run(ctx context.Context) (err error) {
	pid := t.attacked.server.PID()
	if t.result.Before, err = t.measure(ctx, t.cfg.Before, t.cfg.Before); err != nil {
		return fmt.Errorf("attack: %s: before the attack: %w %q", t.Name, err, t.result.Broken)
	}
	if t.result.Rest, err = proc.RSS(pid); err != nil {
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
	p, err := startAttackers(ctx, t, t.order)
	if err != nil {
		return err
	}
	defer p.stop()
	enough := []<-chan struct{}{p.enough}
	if t.harmless != nil && t.twin != nil {
		order := t.order
		order.Addr, order.Harmless = t.twin.server.Listen, true
		h, err := startAttackers(ctx, t, order)
		if err != nil {
			return err
		}
		defer h.stop()
		enough = append(enough, h.enough)
		defer func() {
			if stats, err := t.twin.server.Stats(ctx); err == nil {
				t.note("the twin had %.0f further sessions without harm", stats["sessions"]-float64(2*t.twin.healthy.clients))
			}
		}()
	}
	besideCtx, stop := context.WithCancel(ctx)
	defer stop()
	var others sync.WaitGroup
	others.Go(func() { t.watchKernel(besideCtx) })
	if t.beside != nil {
		done := make(chan struct{})
		enough = append(enough, done)
		others.Go(func() {
			defer close(done)
			select {
			case <-p.ready:
				t.beside(besideCtx, t)
			case <-besideCtx.Done():
			}
		})
	}
	t.result.During, err = t.measure(ctx, t.cfg.During, t.cfg.During+t.patience(), enough...)
	stop()
	others.Wait()
	took := time.Since(began)
	if err != nil && !errors.Is(err, errHarm) {
		return err
	}
	if after, err := proc.CPU(pid); err == nil {
		t.result.CPU = (after - cpu).Seconds() / took.Seconds()
	} else {
		t.broken("the server has exited: %.500s", t.attacked.server.Log())
		return nil
	}
	outcome, used, err := p.finish()
	if err != nil {
		return err
	}
	t.result.Outcome, t.result.Attackers = outcome, used.Seconds()/took.Seconds()
	if t.result.Peak, err = proc.Peak(pid); err != nil {
		return err
	}
	t.verify(ctx)
	return ctx.Err()
}

// watchKernel records the largest size of all socket buffers.
func (t *trial) watchKernel(ctx context.Context) {
	for ctx.Err() == nil {
		if k, err := proc.KernelMemory(); err == nil {
			t.result.Kernel = max(t.result.Kernel, k.TCP)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}
