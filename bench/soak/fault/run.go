package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options configures Run. The zero value is a short run of all nemeses.
type Options struct {
	Fanfare, NATS string        // programs; empty: built from the module that contains the working directory
	Only          []string      // names of nemeses; empty: all
	Duration      time.Duration // with faults in the cluster; 0: 20 s. Setup and the final check come on top
	// Each is how long a nemesis with servers of its own runs. It acts at least once, however short that is. 0: an
	// eighth of Duration.
	Each  time.Duration
	Seed  uint64        // of all random choices; 0: from the clock
	Nodes int           // of the cluster; 0: 3
	Users int           // of the cluster; 0: 30
	Pace  time.Duration // average time between two pushes to a user; 0: 50 ms
	Log   func(format string, args ...any)
}

// Result has the findings about the nemeses that disturbed the same servers.
type Result struct {
	Name string `json:"name"` // cluster, or the name of a nemesis
	Verdict
	// Stuck messages had not reached a connected user 15 s after the end of all
	// faults; the user had to reconnect.
	Stuck    []string       `json:"stuck,omitempty"`
	Alarms   []string       `json:"alarms,omitempty"` // panics and races in logs
	Network  string         `json:"network"`
	Faults   map[string]int `json:"faults"`
	Connects int64          `json:"connects"`
	Events   int            `json:"events,omitempty"` // that a webhook received, each counted once
	Jumps    int64          `json:"jumps"`            // clients that slept
	Retries  int64          `json:"retries"`          // pushes that were rejected or failed
	// Failure says what a server did wrong apart from messages; empty: nothing.
	Failure string `json:"failure,omitempty"`
}

// Err returns an error that lists the violations, or nil.
func (r *Result) Err() error {
	err := r.Verdict.Err()
	if r.Failure != "" {
		err = join(err, errors.New(r.Failure))
	}
	if len(r.Stuck) > 0 {
		err = join(err, fmt.Errorf("fault: %d messages arrived only after a reconnect: %s", len(r.Stuck), strings.Join(r.Stuck[:min(8, len(r.Stuck))], "; ")))
	}
	if len(r.Alarms) > 0 {
		err = join(err, fmt.Errorf("fault: in the logs: %s", strings.Join(r.Alarms[:min(8, len(r.Alarms))], "\n  ")))
	}
	if r.Accepted+r.Events == 0 || len(r.Faults) == 0 {
		err = join(err, fmt.Errorf("fault: %d pushes were accepted, %d events were received and %d kinds of faults happened: the run tests nothing", r.Accepted, r.Events, len(r.Faults)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.Name, err)
	}
	return nil
}

// Report is the result of Run.
type Report struct {
	Seed    uint64    `json:"seed"`
	Results []*Result `json:"results"`
}

// Err returns an error that lists the violations, or nil.
func (r *Report) Err() (err error) {
	for _, one := range r.Results {
		if e := one.Err(); e != nil {
			err = join(err, e)
		}
	}
	if len(r.Results) == 0 {
		return errors.New("fault: nothing was run")
	}
	return err
}

func join(a, b error) error {
	if a == nil {
		return b
	}
	return fmt.Errorf("%w\n%w", a, b)
}

// run is one call of Run.
type run struct {
	Options
	programs Programs
	tell     func(format string, args ...any)
}

// Run runs the test. Its error says that the test could not be run; Report.Err says whether the servers passed. After a
// failure the logs stay in the directory for temporary files.
func Run(ctx context.Context, o Options) (report Report, err error) {
	nemeses, err := find(o.Only)
	if err != nil {
		return report, err
	}
	o.Nodes, o.Users = cmp.Or(o.Nodes, 3), cmp.Or(o.Users, 30)
	o.Duration, o.Pace = cmp.Or(o.Duration, 20*time.Second), cmp.Or(o.Pace, 50*time.Millisecond)
	o.Each = cmp.Or(o.Each, o.Duration/8)
	o.Seed = cmp.Or(o.Seed, uint64(time.Now().UnixNano()))
	report.Seed = o.Seed
	began := time.Now()
	r := &run{Options: o, tell: func(format string, args ...any) {
		if o.Log != nil {
			o.Log("%5.1f s  %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}
	}}
	dir, err := tempDir()
	if err != nil {
		return report, fmt.Errorf("fault: %w", err)
	}
	defer func() {
		if err != nil || report.Err() != nil {
			cleanLogs(dir)
			r.tell("logs and history: %s", dir)
			return
		}
		os.RemoveAll(dir)
	}()
	if r.programs, err = (Programs{o.Fanfare, o.NATS}).Build(ctx, dir); err != nil {
		return report, err
	}
	if len(disturbing(nemeses, true))+len(disturbing(nemeses, false)) > 0 {
		if err := report.add(dir, "cluster", func(dir string) (*Result, error) { return r.cluster(ctx, dir, nemeses) }); err != nil {
			return report, err
		}
	}
	for _, n := range nemeses {
		do := n.own
		switch {
		case n.disturb != nil:
			continue
		case n.stage != nil:
			do = func(r *run, ctx context.Context, dir string) (*Result, error) { return r.trial(ctx, dir, n) }
		}
		if err := report.add(dir, n.Name, func(dir string) (*Result, error) { return do(r, ctx, dir) }); err != nil {
			return report, err
		}
	}
	return report, nil
}

// add adds a result, of servers in a directory of their own.
func (r *Report) add(dir, name string, run func(dir string) (*Result, error)) error {
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	result, err := run(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	result.Name = name
	r.Results = append(r.Results, result)
	return nil
}

// cleanLogs removes everything but logs and configurations.
func cleanLogs(dir string) {
	filepath.WalkDir(dir, func(file string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rest, _ := filepath.Rel(dir, file)
		ext := filepath.Ext(file)
		if (ext != ".log" && ext != ".conf") || strings.Count(rest, string(filepath.Separator)) > 1 {
			return os.Remove(file)
		}
		return nil
	})
}
