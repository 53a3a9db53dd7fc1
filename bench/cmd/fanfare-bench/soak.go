package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fanfare/bench/attack"
	"fanfare/bench/proc"
	"fanfare/bench/servers"
)

type soakCommand struct {
	Minutes float64  `help:"How long it takes in all." default:"20"`
	Only    []string `help:"Run these attacks alone." placeholder:"NAME"`
	Clients int      `help:"Healthy clients, a multiple of 8." default:"1000"`
	JSON    string   `help:"Write everything measured to this file." type:"path" placeholder:"FILE"`
	Fanfare string   `help:"The fanfare program; built from the parent directory when empty." env:"FANFARE_BIN" type:"existingfile"`
}

// between is what starting and ending an attack takes, about.
const between = 4 * time.Second

// config divides the time among so many attacks: a fifth of it is for what was before.
func (c *soakCommand) config(attacks int) (cfg attack.Config, err error) {
	each := time.Duration(c.Minutes*float64(time.Minute))/time.Duration(attacks) - between
	cfg = attack.Config{Fanfare: c.Fanfare, Clients: c.Clients, Before: (each / 5).Round(time.Second / 10), During: (each * 4 / 5).Round(time.Second / 10), Strict: true}
	switch {
	case cfg.During < leastDuring:
		return cfg, fmt.Errorf("--minutes: %d attacks need %.1f", attacks, (float64(attacks) * (leastDuring*5/4 + between).Minutes()))
	case cfg.Clients < 8 || cfg.Clients%8 != 0:
		return cfg, errors.New("--clients: want a multiple of 8")
	}
	return cfg, nil
}

// leastDuring is enough for handshakes to be over time, and for half-open peers to be found.
const leastDuring = 12 * time.Second

func (c *soakCommand) Run(ctx context.Context) error {
	attacks, err := attack.Find(c.Only, false)
	if err != nil {
		return err
	}
	cfg, err := c.config(len(attacks))
	if err != nil {
		return err
	}
	attack.Prioritize()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cfg.Worker, cfg.Attacker = []string{self, "load-worker"}, []string{self, "attack-worker"}
	if cfg.Fanfare == "" {
		dir, err := os.MkdirTemp("", "fanfare-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if cfg.Fanfare, err = servers.Build(ctx, filepath.Join(dir, "fanfare")); err != nil {
			return err
		}
	}
	fmt.Println("$ fanfare-bench", strings.Join(os.Args[1:], " "))
	m := proc.ThisMachine()
	fmt.Printf("fanfare %s, %s, %s, %d cores of %s\n\n", servers.Version(cfg.Fanfare), m.Go, m.Kernel, m.Cores, m.CPU)
	attack.WriteHead(os.Stdout, cfg)
	var results []*attack.Result
	var broken, unsure []string
	for _, a := range attacks {
		r, err := attack.Judge(ctx, a, cfg, func(r *attack.Result) { r.Write(os.Stdout) })
		if errors.Is(err, attack.ErrNoNamespace) {
			fmt.Printf("%-17s left out: %v\n", a.Name, err)
			continue
		}
		if err != nil {
			return err
		}
		results = append(results, r)
		switch {
		case len(r.Broken) > 0:
			broken = append(broken, a.Name)
		case len(r.Missed)+len(r.Unsure) > 0:
			unsure = append(unsure, a.Name)
		}
	}
	if c.JSON != "" {
		write := func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "\t")
			return e.Encode(results)
		}
		if err := create(c.JSON, write); err != nil {
			return err
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("bounds broken by %s", strings.Join(broken, ", "))
	}
	if len(unsure) > 0 {
		fmt.Printf("\nNo bound was broken. The machine was too restless to judge latency under %s.\n", strings.Join(unsure, ", "))
		return nil
	}
	fmt.Println("\nEvery bound was kept.")
	return nil
}

// An attackCommand is a process of attackers.
type attackCommand struct{}

func (attackCommand) Run() error { return attack.Work(os.Stdin, os.Stdout) }
