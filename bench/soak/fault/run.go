package fault

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options of Run. Zero is a short run.
type Options struct {
	Fanfare, NATS string        // programs; empty: built from the module that contains the working directory
	Duration      time.Duration // with faults; 0: 20 s. Setup and the final check come on top
	Seed          uint64        // of all random choices; 0: from the clock
	Nodes         int           // 0: 3
	Users         int           // 0: 30
	Pace          time.Duration // average time between two pushes to a user; 0: 50 ms
	Log           func(format string, args ...any)
}

// Result of Run.
type Result struct {
	Verdict
	// Stuck messages had not reached a connected user 15 s after the end of all
	// faults; the user had to reconnect.
	Stuck    []string       `json:"stuck,omitempty"`
	Alarms   []string       `json:"alarms,omitempty"` // panics and races in logs
	Network  string         `json:"network"`
	Seed     uint64         `json:"seed"`
	Faults   map[string]int `json:"faults"`
	Connects int64          `json:"connects"`
	Jumps    int64          `json:"jumps"`   // clients that slept
	Retries  int64          `json:"retries"` // pushes that were rejected or failed
}

// Err returns nil if there are no violations.
func (r *Result) Err() error {
	err := r.Verdict.Err()
	if len(r.Stuck) > 0 {
		err = join(err, fmt.Errorf("fault: %d messages arrived only after a reconnect: %s", len(r.Stuck), strings.Join(r.Stuck[:min(8, len(r.Stuck))], "; ")))
	}
	if len(r.Alarms) > 0 {
		err = join(err, fmt.Errorf("fault: in the logs: %s", strings.Join(r.Alarms[:min(8, len(r.Alarms))], "\n  ")))
	}
	if r.Accepted == 0 || len(r.Faults) == 0 {
		err = join(err, fmt.Errorf("fault: %d pushes were accepted and %d kinds of faults happened: the run tests nothing", r.Accepted, len(r.Faults)))
	}
	return err
}

func join(a, b error) error {
	if a == nil {
		return b
	}
	return fmt.Errorf("%w\n%w", a, b)
}

// calmTime is the time limit for all processes to become ready after the faults.
const calmTime = 40 * time.Second

// settleTime is the time limit for an accepted message to arrive.
const settleTime = 15 * time.Second

// Run runs the test. Its error says that the test could not be run; Result.Err says
// whether the cluster passed. After a failure the logs stay in the directory for
// temporary files.
func Run(ctx context.Context, o Options) (_ Result, err error) {
	o.Nodes, o.Users = cmp.Or(o.Nodes, 3), cmp.Or(o.Users, 30)
	o.Duration, o.Pace = cmp.Or(o.Duration, 20*time.Second), cmp.Or(o.Pace, 50*time.Millisecond)
	o.Seed = cmp.Or(o.Seed, uint64(time.Now().UnixNano()))
	began := time.Now()
	tell := func(format string, args ...any) {
		if o.Log != nil {
			o.Log("%5.1f s  %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}
	}
	r := Result{Seed: o.Seed}
	dir, err := tempDir()
	if err != nil {
		return r, fmt.Errorf("fault: %w", err)
	}
	defer func() {
		if err != nil || r.Err() != nil {
			cleanLogs(dir)
			tell("logs and history: %s", dir)
			return
		}
		os.RemoveAll(dir)
	}()
	programs, err := Programs{o.Fanfare, o.NATS}.Build(ctx, dir)
	if err != nil {
		return r, err
	}
	const replicas = 3
	var small *disk
	defer func() { small.unmount() }()
	c, err := newCluster(ctx, dir, shape{
		programs: programs, nats: replicas, nodes: o.Nodes,
		args: []string{"--ping-interval", "2s", "--ping-timeout", "2s", "--inbox-messages", "1000000", "--inbox-bytes", "1GiB",
			"--inbox-disk", "1GiB", "--inbox-window", "10m"},
		disk: func(path string, i int) (string, error) {
			if i < replicas-1 {
				return path, nil
			}
			if small, err = mountDisk(path, 256<<20); err != nil {
				tell("%v: disks are not filled", err)
			}
			return path, nil
		},
	})
	if err != nil {
		return r, err
	}
	defer c.close()
	r.Network = c.net.what()
	tell("%d NATS servers and %d nodes are ready, in %s; seed %d", replicas, o.Nodes, r.Network, o.Seed)

	w := newWorld(ctx, c, o.Seed)
	defer w.close()
	w.pace = o.Pace
	w.populate(o.Users)
	m := &nemesis{world: w, tell: tell, disk: small, counts: make(map[string]int), down: make(map[*process]int)}
	bad, cancel := context.WithTimeout(w.end, o.Duration)
	defer cancel()
	var nemeses sync.WaitGroup
	for _, kinds := range [][]kind{faultsOfNATS, faultsOfNodes} {
		rnd := w.random()
		nemeses.Go(func() { m.run(bad, kinds, rnd) })
	}
	nemeses.Wait()
	if err := c.restore(ctx, calmTime); err != nil {
		return r, err
	}
	tell("all processes are ready again")
	close(w.quiet)
	if r.Stuck = w.settle(settleTime); len(r.Stuck) > 0 {
		tell("%d messages are missing: all devices reconnect", len(r.Stuck))
		w.reconnect()
		w.settle(settleTime)
	}
	w.close()
	r.Verdict = *w.history.check()
	r.Faults, r.Connects, r.Jumps, r.Retries = m.total(), w.connects.Load(), w.jumps.Load(), w.retries.Load()
	r.Alarms = c.alarms()
	if r.Err() != nil {
		w.history.dump(filepath.Join(dir, "history.log"))
	}
	return r, ctx.Err()
}

// cleanLogs removes everything but logs and configurations.
func cleanLogs(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".log" && ext != ".conf" {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}
