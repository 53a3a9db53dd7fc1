package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"fanfare/bench/load"
	"fanfare/bench/report"
	"fanfare/bench/scenario"
	"fanfare/bench/servers"
	"fanfare/bench/suite"
)

type runCommand struct {
	Scenarios []string `help:"Scenarios; see list." default:"idle,connect,echo,broadcast"`
	Servers   []string `help:"Servers; see list." default:"all"`
	Baseline  string   `help:"The server to compare the others with." default:"gorilla-classic"`
	Rounds    int      `help:"Rounds. Every server has one turn in each, in random order." default:"3"`
	Short     bool     `help:"A small set, about four minutes on two idle cores. It sets servers, scenarios, connections and times."`

	Products    bool          `help:"Compare fanfare with other push servers, which are built first if they are missing. It sets servers, baseline and scenarios."`
	Connections []int         `help:"Connections; several numbers are several cases." short:"n" default:"9000"`
	Sizes       []int         `name:"size" help:"Bytes per payload; several numbers are several cases of echo and broadcast." default:"128"`
	Depths      []int         `name:"depth" help:"Echoes per write of a connection; several numbers are several cases." default:"1"`
	Time        time.Duration `help:"Measured time." default:"2s"`
	Warm        time.Duration `help:"Warm-up before it." default:"500ms"`
	Settle      time.Duration `help:"Pause before memory is read." default:"2s"`
	InFlight    int           `name:"inflight" help:"Pending echoes." default:"100"`
	Active      int           `help:"Connections that echo while the others are idle; 0: all, in turn." default:"100"`
	Window      int           `help:"Pending handshakes." default:"100"`
	Pushes      int           `help:"Pushes to single users, per second." default:"2000"`
	Publishes   int           `help:"Messages to topics, per second." default:"500"`
	Topics      int           `help:"Topics." default:"1000"`
	PerUser     int           `help:"Topics that each user subscribes to." default:"3"`
	Heartbeat   time.Duration `help:"Ping interval in the scenario heartbeat." default:"2s"`
	SlowSize    int           `help:"Bytes per payload in the scenario slow." default:"4096"`
	Churn       int           `help:"Connections opened and closed per second." default:"500"`
	Storms      int           `help:"How often all clients connect again in the scenario reconnect." default:"3"`
	Beside      int           `help:"Pushes per second in the scenario beside." default:"500"`
	Binary      bool          `help:"Send binary messages instead of text."`

	Target    []string `help:"A running server to compare: ws://host:port, or NAME=ws://host:port/path."`
	TargetAPI string   `name:"target-api" help:"URL of the target's HTTP API, if it has one."`

	JSON    string `help:"Write all measurements to this file (-: standard output)." type:"path" placeholder:"FILE"`
	HTML    string `help:"Write a page with charts to this file." type:"path" placeholder:"FILE"`
	Fanfare string `help:"The fanfare program; default: built from the parent directory." env:"FANFARE_BIN" type:"existingfile"`
}

// shorten chooses what fits into four minutes on two idle cores: 170 measurements of about 1.4 seconds. Five rounds decide
// more differences than three.
func (c *runCommand) shorten() {
	c.Servers = []string{"fanfare-epoll", "fanfare-easygo", "fanfare-goroutine", "gorilla-classic", "gws", "nbio", "floor1"}
	c.Scenarios = []string{"idle", "connect", "echo", "broadcast", "push"}
	c.Connections, c.Rounds = []int{5000}, 5
	c.Time, c.Warm, c.Settle = time.Second, 300*time.Millisecond, time.Second
}

// chooseProducts chooses push servers and what buyers compare.
func (c *runCommand) chooseProducts() {
	c.Servers = []string{"fanfare-default", "centrifugo", "nats", "mercure"}
	c.Baseline = "fanfare-default"
	c.Scenarios = []string{"idle", "connect", "broadcast", "sse-broadcast", "push-1", "push-16", "push-batch", "push", "beside", "durable",
		"login-1", "login-10", "login-100"}
}

func (c *runCommand) Run(ctx context.Context) error {
	if c.Short {
		c.shorten()
	}
	if c.Products {
		c.chooseProducts()
	}
	scenarios, err := scenario.Find(c.Scenarios)
	if err != nil {
		return err
	}
	specs, done, err := c.specs(ctx)
	defer done()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	// JSON on standard output moves the tables to standard error.
	out := os.Stdout
	if c.JSON == "-" {
		out = os.Stderr
	}
	bar := newProgress(os.Stderr)
	heading := true
	run, err := suite.Run(ctx, suite.Config{
		Scenarios: scenarios,
		Servers:   specs,
		Plan:      c.plan(),
		Rounds:    c.Rounds,
		Baseline:  c.Baseline,
		Worker:    []string{self, "load-worker"},
		Command:   append([]string{"fanfare-bench"}, os.Args[1:]...),
		Progress:  bar.step,
		Finished: func(run *report.Run, name string) {
			bar.clear()
			if heading {
				run.WriteHead(out)
				heading = false
			}
			run.WriteScenario(out, name)
		},
	})
	bar.clear()
	run.WriteEnd(out)
	if writeErr := c.write(run); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	return err
}

func (c *runCommand) write(run *report.Run) error {
	if c.JSON == "-" {
		return run.WriteJSON(os.Stdout)
	}
	if c.JSON != "" {
		if err := create(c.JSON, run.WriteJSON); err != nil {
			return err
		}
	}
	if c.HTML != "" {
		return create(c.HTML, run.WriteHTML)
	}
	return nil
}

func (c *runCommand) check() error {
	switch {
	case c.Rounds < 1:
		return errors.New("--rounds: want at least 1")
	case len(c.Connections) == 0 || slices.Min(c.Connections) < 1:
		return errors.New("--connections: want at least 1")
	case len(c.Sizes) == 0 || slices.Min(c.Sizes) < load.MinSize || slices.Max(c.Sizes) > load.MaxSize:
		return fmt.Errorf("--size: want %d to %d bytes", load.MinSize, load.MaxSize)
	case c.SlowSize < load.MinSize || c.SlowSize > load.MaxSize:
		return fmt.Errorf("--slow-size: want %d to %d bytes", load.MinSize, load.MaxSize)
	case len(c.Depths) == 0 || slices.Min(c.Depths) < 1:
		return errors.New("--depth: want at least 1")
	case c.Time <= 0 || c.Warm < 0 || c.Settle < 0 || c.Heartbeat <= 0:
		return errors.New("--time and --heartbeat: want more than 0; --warm and --settle: want at least 0")
	case c.InFlight < 1 || c.Active < 0 || c.Window < 1 || c.Pushes < 1 || c.Publishes < 1 || c.Topics < 1 || c.PerUser < 1 || c.Churn < 1 || c.Storms < 1 || c.Beside < 1:
		return errors.New("--inflight, --window, --pushes, --publishes, --topics, --per-user, --churn, --storms and --beside: want at least 1")
	}
	return nil
}

func (c *runCommand) plan() scenario.Plan {
	return scenario.Plan{
		Connections: c.Connections, Sizes: c.Sizes, Depths: c.Depths,
		Window: c.Window, InFlight: c.InFlight, Active: c.Active,
		Warm: c.Warm, Time: c.Time, Settle: c.Settle, Binary: c.Binary,
		Pushes: c.Pushes, Publishes: c.Publishes, Topics: c.Topics, PerUser: c.PerUser,
		Heartbeat: c.Heartbeat, SlowSize: c.SlowSize, Churn: c.Churn, Storms: c.Storms, Beside: c.Beside,
	}
}

// specs returns the servers, and builds fanfare if it is one of them; done removes what was built.
func (c *runCommand) specs(ctx context.Context) (specs []servers.Spec, done func(), err error) {
	done = func() {}
	self, err := os.Executable()
	if err != nil {
		return nil, done, err
	}
	ours := func(s string) bool { return s == "all" || strings.HasPrefix(s, "fanfare-") }
	if slices.ContainsFunc(c.Servers, ours) && c.Fanfare == "" {
		program, remove, err := servers.BuildTemp(ctx)
		if err != nil {
			return nil, done, err
		}
		c.Fanfare, done = program, remove
	}
	catalog := servers.Catalog{Fanfare: c.Fanfare, Self: self}
	if err = catalog.BuildProducts(ctx, c.Servers); err != nil {
		return nil, done, err
	}
	specs, err = catalog.Find(c.Servers)
	if err != nil {
		return nil, done, err
	}
	for _, target := range c.Target {
		spec, err := servers.ParseTarget(target, c.TargetAPI)
		if err != nil {
			return nil, done, err
		}
		specs = append(specs, spec)
	}
	return specs, done, nil
}
