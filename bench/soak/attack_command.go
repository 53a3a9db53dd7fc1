package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"fanfare/bench/proc"
	"fanfare/bench/servers"
	"fanfare/bench/soak/attack"
)

type attackCommand struct {
	Minutes  float64  `help:"Time for all attacks. Three quarters of it are for the first run of each; the rest is for repeating those whose latency is undecided or exceeds the bound." default:"11"`
	Only     []string `help:"Run these attacks only." placeholder:"NAME"`
	Clients  int      `help:"Healthy clients, half of them on the attacked server and half on its twin; a multiple of 20." default:"1000"`
	Realtime bool     `help:"Run at real-time priority where that is allowed." default:"true" negatable:""`
	JSON     string   `help:"Write all measurements to this file." type:"path" placeholder:"FILE"`
	Fanfare  string   `help:"The fanfare program; default: built from the parent directory." env:"FANFARE_BIN" type:"existingfile"`
}

const (
	// between is about what starting the servers of an attack and waiting for recovery takes.
	between = 4 * time.Second
	before  = 4 * time.Second
	// leastDuring is enough for slow handshakes to time out, for half-open connections to be detected, and for the
	// judge.
	leastDuring = 10 * time.Second
	// firstRuns is the share of the time for the first run of each attack.
	firstRuns = 0.75
	mostTries = 4
)

// config divides the time of the first runs among so many attacks.
func (c *attackCommand) config(attacks int) (cfg attack.Config, err error) {
	each := time.Duration(c.Minutes * firstRuns * float64(time.Minute) / float64(attacks))
	cfg = attack.Config{Fanfare: c.Fanfare, Clients: c.Clients / 2, Before: before, During: (each - between - before).Truncate(time.Second), Judge: true}
	switch {
	case cfg.During < leastDuring:
		return cfg, fmt.Errorf("--minutes: %d attacks need %.1f", attacks, float64(attacks)*(leastDuring+before+between).Minutes()/firstRuns)
	case c.Clients < 20 || c.Clients%20 != 0:
		return cfg, errors.New("--clients: want a multiple of 20")
	}
	return cfg, nil
}

func (c *attackCommand) Run(ctx context.Context) error {
	attacks, err := attack.Find(c.Only, false)
	if err != nil {
		return err
	}
	cfg, err := c.config(len(attacks))
	if err != nil {
		return err
	}
	if c.Realtime {
		attack.Prioritize()
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cfg.Worker, cfg.Attacker = []string{self, "load-worker"}, []string{self, "attack-worker"}
	if cfg.Fanfare == "" {
		program, remove, err := servers.BuildTemp(ctx)
		if err != nil {
			return err
		}
		defer remove()
		cfg.Fanfare = program
	}
	fmt.Println("$ soak", strings.Join(os.Args[1:], " "))
	m := proc.ThisMachine()
	fmt.Printf("fanfare %s, %s, %s, %d cores of %s, load %s\n\n", servers.Version(cfg.Fanfare), m.Go, m.Kernel, m.Cores, m.CPU, m.Load)
	attack.WriteHead(os.Stdout, cfg)
	results, err := c.attack(ctx, attacks, cfg)
	if c.JSON != "" {
		err = errors.Join(err, create(c.JSON, func(w io.Writer) error { return json.NewEncoder(w).Encode(results) }))
	}
	if err != nil {
		return err
	}
	return conclude(results)
}

// attack runs every attack once, and then those again whose latency is undecided or exceeds the bound, while there is time.
func (c *attackCommand) attack(ctx context.Context, attacks []attack.Attack, cfg attack.Config) (results []*attack.Result, err error) {
	end := time.Now().Add(time.Duration(c.Minutes * float64(time.Minute)))
	type pending struct {
		attack.Attack
		result *attack.Result
	}
	var undecided []pending
	for _, a := range attacks {
		r, err := attack.Run(ctx, a, cfg)
		if errors.Is(err, attack.ErrNoNamespace) {
			fmt.Printf("%-16s left out: %v\n", a.Name, err)
			continue
		}
		if err != nil {
			return results, err
		}
		r.Write(os.Stdout)
		results = append(results, r)
		if doubtful(r) {
			undecided = append(undecided, pending{a, r})
		}
	}
	for len(undecided) > 0 && time.Until(end) > cfg.During+before+between {
		a := undecided[0]
		undecided = undecided[1:]
		next, err := attack.Run(ctx, a.Attack, cfg)
		if err != nil {
			return results, err
		}
		a.result.Merge(next)
		a.result.Write(os.Stdout)
		if doubtful(a.result) && a.result.Tries < mostTries {
			undecided = append(undecided, a)
		}
	}
	return results, nil
}

// doubtful reports whether further seconds may change the verdict: a single run beside other programs may exceed the
// bound by chance, as it may be undecided.
func doubtful(r *attack.Result) bool { return len(r.Broken) == 0 && r.Compare() != attack.Held }

// conclude prints a summary, and returns an error if a bound is broken.
func conclude(results []*attack.Result) error {
	var broken, undecided []string
	for _, r := range results {
		switch verdict := r.Compare(); {
		case len(r.Broken) > 0 || verdict == attack.Exceeded:
			broken = append(broken, r.Attack)
		case verdict == attack.Undecided:
			undecided = append(undecided, r.Attack)
		}
	}
	if len(undecided) > 0 {
		fmt.Printf("\nLatency is undecided for %d of %d attacks: %s. The host is too noisy.\n", len(undecided), len(results), strings.Join(undecided, ", "))
	}
	if len(broken) > 0 {
		return fmt.Errorf("bounds broken by %s", strings.Join(broken, ", "))
	}
	if len(undecided) == 0 {
		fmt.Println("\nAll bounds hold.")
	}
	return nil
}
