package suite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/proc"
	"fanfare/bench/report"
	"fanfare/bench/scenario"
	"fanfare/bench/servers"
)

// A Config says what to run.
type Config struct {
	Scenarios []scenario.Scenario
	Servers   []servers.Spec
	Plan      scenario.Plan
	Rounds    int
	Baseline  string   // server to compare with
	Worker    []string // argument vector of a load worker
	Command   []string // as the report shows it

	// Progress is called before each measurement with the number of finished ones, the total, and a description of
	// the next. It may be nil.
	Progress func(done, total int, what string)
	// Finished is called at the end of each scenario. It may be nil.
	Finished func(run *report.Run, scenario string)
}

// ErrFailed means that the run is complete, and some samples have errors.
var ErrFailed = errors.New("some measurements failed")

// Run measures. It returns everything measured, also with an error: that of ctx after an interruption, or ErrFailed.
func Run(ctx context.Context, c Config) (*report.Run, error) {
	run := &report.Run{
		Began: time.Now(), Command: c.Command, Machine: proc.ThisMachine(), Plan: c.Plan, Rounds: c.Rounds, Baseline: c.Baseline,
	}
	defer func() { run.Took = time.Since(run.Began).Seconds() }()
	total := 0
	for _, spec := range c.Servers {
		run.Servers = append(run.Servers, report.Server{Name: spec.Name, About: spec.About, Version: spec.Version})
		for _, s := range c.Scenarios {
			if s.Excludes(spec) == "" {
				total += c.Rounds * len(s.Cases(c.Plan))
			}
		}
	}
	run.Others = others(time.Second)
	done := 0
	for _, s := range c.Scenarios {
		for _, at := range s.Cases(c.Plan) {
			for _, spec := range c.Servers {
				if why := s.Excludes(spec); why != "" {
					run.Samples = append(run.Samples, scenario.Sample{Scenario: s.Name, Case: at, Server: spec.Name, Skipped: why})
				}
			}
			for round := range c.Rounds {
				for _, i := range rand.Perm(len(c.Servers)) {
					spec := c.Servers[i]
					if s.Excludes(spec) != "" {
						continue
					}
					if c.Progress != nil {
						c.Progress(done, total, fmt.Sprintf("%s, round %d, %s, %s", s.Name, round+1, at, spec.Name))
					}
					sample := c.measure(ctx, s, at, spec)
					if ctx.Err() != nil {
						run.Cut = "interrupted"
						c.finish(run, s.Name)
						return run, ctx.Err()
					}
					sample.Round = round
					run.Samples = append(run.Samples, sample)
					done++
				}
			}
		}
		c.finish(run, s.Name)
	}
	if run.Failed() {
		return run, ErrFailed
	}
	return run, nil
}

func (c Config) finish(run *report.Run, scenario string) {
	if c.Finished != nil {
		c.Finished(run, scenario)
	}
}

// measure takes one sample.
func (c Config) measure(ctx context.Context, s scenario.Scenario, at scenario.Case, spec servers.Spec) scenario.Sample {
	sample := scenario.Sample{Scenario: s.Name, Case: at, Server: spec.Name}
	if why := tooMany(at.Connections, spec); why != "" {
		sample.Skipped = why
		return sample
	}
	began, busy, ours, stolen := time.Now(), proc.Busy(), ourCPU(), proc.Stolen()
	if err := c.sample(ctx, s, at, spec, &sample); err != nil {
		sample.Error = err.Error()
		sample.Values = nil
		return sample
	}
	// The server and the clients have ended, so the time of our children includes theirs.
	took := time.Since(began).Seconds()
	sample.Set(scenario.Others, (proc.Busy()-busy-(ourCPU()-ours).Seconds())/took)
	sample.Set(scenario.Stolen, (proc.Stolen()-stolen)/took)
	return sample
}

func (c Config) sample(ctx context.Context, s scenario.Scenario, at scenario.Case, spec servers.Spec, sample *scenario.Sample) error {
	startServer, secure := servers.Start, s.TLS || spec.Secure
	if secure {
		startServer = servers.StartTLS
	}
	server, err := startServer(ctx, spec, s.PingInterval(c.Plan))
	if err != nil {
		return err
	}
	defer server.Stop()
	fleets := 0
	start := func(ctx context.Context, connections int) (*fleet.Fleet, error) {
		cfg := load.Config{Addr: server.Listen, Binary: c.Plan.Binary, TLS: secure, Events: s.Events, Number: fleets * fleet.MaxWorkers}
		if p := spec.Product; p != nil {
			cfg.Dialect, cfg.Events = p.Dialect, s.Events || p.Path == ""
		}
		fleets++
		return fleet.Start(ctx, c.Worker, cfg, connections)
	}
	f, err := start(ctx, at.Connections)
	if err != nil {
		return err
	}
	defer f.Close()
	err = s.Run(ctx, &scenario.Env{Plan: c.Plan, Case: at, TLS: secure, Events: s.Events, Server: server, Fleet: f, Extra: start, Sample: sample})
	if err != nil && server.Log() != "" {
		return fmt.Errorf("%w\nthe server's log ends with: %s", err, server.Log())
	}
	return err
}

// tooMany returns why a server cannot have so many connections here, or "".
func tooMany(connections int, spec servers.Spec) string {
	const others = 64 // further descriptors of a Go server
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return ""
	}
	if need := connections*max(1, spec.Descriptors) + others; uint64(need) > limit.Max {
		return fmt.Sprintf("needs %d descriptors, the limit is %d", need, limit.Max)
	}
	return ""
}

// others returns how many cores other programs use, measured for a while in which this one does nothing.
func others(d time.Duration) float64 {
	busy, ours, began := proc.Busy(), ourCPU(), time.Now()
	time.Sleep(d)
	return max(0, (proc.Busy()-busy-(ourCPU()-ours).Seconds())/time.Since(began).Seconds())
}

// ourCPU returns the processor time of this process and of its children that have ended.
func ourCPU() (sum time.Duration) {
	for _, which := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if syscall.Getrusage(which, &r) == nil {
			sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return sum
}
