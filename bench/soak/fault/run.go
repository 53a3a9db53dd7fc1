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

// Options of Run. Zero is a short run of everything.
type Options struct {
	Fanfare, NATS string        // programs; built from the module around the working directory where empty
	Duration      time.Duration // of faults; 0: 20 s. Setting up and settling come on top
	Seed          uint64        // of all that is random in the test; 0: by the clock
	Nodes         int           // 0: 3
	Users         int           // 0: 30
	Pace          time.Duration // between two pushes to a user, on average; 0: 50 ms
	Log           func(format string, args ...any)
}

// Result of Run.
type Result struct {
	Verdict
	// Stuck are messages that reached a connected user within 15 s of the end of
	// all faults only because it connected again.
	Stuck    []string       `json:"stuck,omitempty"`
	Alarms   []string       `json:"alarms,omitempty"` // panics and races in logs
	Network  string         `json:"network"`
	Seed     uint64         `json:"seed"`
	Faults   map[string]int `json:"faults"`
	Connects int64          `json:"connects"`
	Jumps    int64          `json:"jumps"`   // clients that slept, and their clocks with them
	Retries  int64          `json:"retries"` // pushes that were not accepted
}

// Err is nil if nothing is wrong.
func (r *Result) Err() error {
	err := r.Verdict.Err()
	if len(r.Stuck) > 0 {
		err = join(err, fmt.Errorf("fault: %d came only when the user connected again: %s", len(r.Stuck), strings.Join(r.Stuck[:min(8, len(r.Stuck))], "; ")))
	}
	if len(r.Alarms) > 0 {
		err = join(err, fmt.Errorf("fault: in the logs: %s", strings.Join(r.Alarms[:min(8, len(r.Alarms))], "\n  ")))
	}
	if r.Accepted == 0 || len(r.Faults) == 0 {
		err = join(err, fmt.Errorf("fault: %d pushes were accepted and %d kinds of faults done: nothing is tested", r.Accepted, len(r.Faults)))
	}
	return err
}

func join(a, b error) error {
	if a == nil {
		return b
	}
	return fmt.Errorf("%w\n%w", a, b)
}

// calmTime is how long everything may take to become ready after the faults.
const calmTime = 40 * time.Second

// settleTime is how long a message may take that was accepted.
const settleTime = 15 * time.Second

// Run is the whole test. Its error says that it could not be done; whether the
// service has passed says Result.Err. What it leaves in the directory for
// temporary files if it fails are the logs.
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
			tell("logs and the history are in %s", dir)
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
				tell("%v: no disk will be full", err)
			}
			return path, nil
		},
	})
	if err != nil {
		return r, err
	}
	defer c.close()
	r.Network = c.net.what()
	tell("%d NATS and %d nodes are ready, in %s; seed %d", replicas, o.Nodes, r.Network, o.Seed)

	w := newWorld(ctx, c, o.Seed)
	defer w.close()
	w.pace = o.Pace
	w.populate(o.Users)
	m := &nemesis{world: w, tell: tell, disk: small, counts: make(map[string]int), down: make(map[*process]int)}
	bad, cancel := context.WithTimeout(w.end, o.Duration)
	defer cancel()
	var nemeses sync.WaitGroup
	for _, evils := range [][]evil{evilForNATS, evilForNodes} {
		rnd := w.random()
		nemeses.Go(func() { m.run(bad, evils, rnd) })
	}
	nemeses.Wait()
	if err := c.restore(ctx, calmTime); err != nil {
		return r, err
	}
	tell("all is ready again")
	close(w.quiet)
	if r.Stuck = w.settle(settleTime); len(r.Stuck) > 0 {
		tell("%d are missing: everybody connects again", len(r.Stuck))
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

// cleanLogs removes all but logs and configurations.
func cleanLogs(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".log" && ext != ".conf" {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}
