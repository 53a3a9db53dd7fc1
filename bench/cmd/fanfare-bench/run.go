package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/scenario"
	"fanfare/bench/servers"
)

type runCommand struct {
	Scenarios   []string      `help:"What to measure (${enum})." default:"echo,broadcast,connect,idle" enum:"echo,broadcast,connect,idle"`
	Servers     []string      `help:"Whom to measure; see list." default:"all"`
	Connections int           `help:"Connections." short:"n" default:"9000"`
	Rounds      int           `help:"Rounds; in each every server has its turn, in random order." default:"3"`
	Time        time.Duration `help:"Measured time." default:"2s"`
	Warm        time.Duration `help:"Warm-up before it." default:"500ms"`
	Settle      time.Duration `help:"Quiet before memory is read." default:"2s"`
	Size        int           `help:"Bytes per payload." default:"128"`
	InFlight    int           `name:"inflight" help:"Echoes under way at once." default:"100"`
	Active      int           `help:"Connections that echo while the others idle; 0 is all, in turn." default:"100"`
	Depth       int           `help:"Echoes that a connection sends in one write." default:"1"`
	Window      int           `help:"Handshakes under way at once." default:"100"`
	Binary      bool          `help:"Send binary messages instead of text."`
	Fanfare     string        `help:"The fanfare program; built from the parent directory when empty." env:"FANFARE_BIN" type:"existingfile"`
}

func (c *runCommand) Run(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(c.Servers, func(s string) bool { return s == "all" || strings.HasPrefix(s, "fanfare-") }) && c.Fanfare == "" {
		dir, err := os.MkdirTemp("", "fanfare-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if c.Fanfare, err = buildFanfare(ctx, dir); err != nil {
			return err
		}
	}
	specs, err := servers.Catalog{Fanfare: c.Fanfare, Self: self}.Find(c.Servers)
	if err != nil {
		return err
	}
	plan := scenario.Plan{
		Connections: c.Connections, Window: c.Window, InFlight: c.InFlight, Active: c.Active, Depth: c.Depth, Size: max(c.Size, load.MinSize),
		Warm: c.Warm, Time: c.Time, Settle: c.Settle, Binary: c.Binary,
	}
	failed := false
	for _, s := range scenario.All() {
		if !slices.Contains(c.Scenarios, s.Name) {
			continue
		}
		var samples []scenario.Sample
		for round := range c.Rounds {
			for _, i := range rand.Perm(len(specs)) {
				fmt.Fprintf(os.Stderr, "%s, round %d of %d, %-20s\r", s.Name, round+1, c.Rounds, specs[i].Name)
				sample := scenario.Sample{Scenario: s.Name, Server: specs[i].Name, Round: round}
				if err := measure(ctx, self, s, specs[i], plan, &sample); err != nil {
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					sample.Error = err.Error()
					failed = true
				}
				samples = append(samples, sample)
			}
		}
		fmt.Fprintf(os.Stderr, "%70s\r", "")
		printTable(os.Stdout, s, plan, specs, samples)
	}
	if failed {
		return errors.New("a measurement failed")
	}
	return nil
}

func measure(ctx context.Context, self string, s scenario.Scenario, spec servers.Spec, plan scenario.Plan, sample *scenario.Sample) error {
	server, err := servers.Start(ctx, spec, servers.PingInterval)
	if err != nil {
		return err
	}
	defer server.Stop()
	f, err := fleet.Start(ctx, []string{self, "load-worker"}, load.Config{Addr: server.Listen, Binary: plan.Binary}, plan.Connections)
	if err != nil {
		return err
	}
	defer f.Close()
	err = s.Run(ctx, &scenario.Env{Plan: plan, Server: server, Fleet: f, Sample: sample})
	if err != nil && server.Log() != "" {
		return fmt.Errorf("%w\nthe server's last words: %s", err, server.Log())
	}
	return err
}

// buildFanfare builds the server from the module that holds this one.
func buildFanfare(ctx context.Context, dir string) (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; root = filepath.Dir(root) {
		mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
		if first, _, _ := strings.Cut(string(mod), "\n"); err == nil && strings.TrimSpace(first) == "module fanfare" {
			break
		}
		if root == filepath.Dir(root) {
			return "", errors.New("no module fanfare above the working directory: name the program with --fanfare")
		}
	}
	program := filepath.Join(dir, "fanfare")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/fanfare")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fanfare: %w\n%s", err, out)
	}
	return program, nil
}
