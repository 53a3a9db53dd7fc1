package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"fanfare/bench/soak/fault"
)

type faultCommand struct {
	Minutes float64       `help:"Time with faults in the cluster. A nemesis with servers of its own takes an eighth of it; setup and the final checks come on top." default:"5"`
	Only    []string      `help:"Cause these faults only. ${nemeses}." placeholder:"NAME"`
	Seed    uint64        `help:"Seed of all random choices; 0: from the clock." default:"0"`
	Nodes   int           `help:"Nodes of fanfare in the cluster." default:"3"`
	Users   int           `help:"Users of the cluster." default:"60"`
	Pace    time.Duration `help:"Average time between two pushes to a user of the cluster." default:"100ms"`
	JSON    string        `help:"Write the result to this file." type:"path" placeholder:"FILE"`
	programs
}

// describeNemeses lists all kinds of faults for the help of --only.
func describeNemeses() string {
	var all []string
	for _, n := range fault.Nemeses() {
		all = append(all, n.Name+": "+n.Help)
	}
	return strings.Join(all, "; ")
}

// programs are the flags that name the programs under test.
type programs struct {
	Fanfare string `help:"The fanfare program; default: built from the parent directory." env:"FANFARE_BIN" type:"existingfile"`
	NATS    string `name:"nats" help:"The nats-server program; default: built in the version that the parent directory requires." env:"NATS_BIN" type:"existingfile"`
}

func (c *faultCommand) Run(ctx context.Context) error {
	r, err := fault.Run(ctx, fault.Options{
		Fanfare: c.Fanfare, NATS: c.NATS, Only: c.Only, Duration: time.Duration(c.Minutes * float64(time.Minute)), Seed: c.Seed,
		Nodes: c.Nodes, Users: c.Users, Pace: c.Pace, Log: progress,
	})
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", b)
	if c.JSON != "" {
		if err := os.WriteFile(c.JSON, append(b, '\n'), 0o600); err != nil {
			return err
		}
	}
	return r.Err()
}

type costCommand struct {
	Nodes  []int `help:"Sizes of the cluster." default:"1,2,4,8"`
	Pushes int   `help:"Pushes per size." default:"20000"`
	programs
}

func (c *costCommand) Run(ctx context.Context) error {
	costs, err := fault.MeasureCost(ctx, fault.Programs{Fanfare: c.Fanfare, NATS: c.NATS}, c.Nodes, c.Pushes, progress)
	fault.WriteCosts(os.Stdout, costs)
	return err
}

type durableCommand struct {
	Callers []int  `help:"Callers at a time." default:"1,16"`
	Users   int    `help:"Users who are online, and users who are not." default:"2000"`
	Pushes  int    `help:"Pushes of each kind in a round." default:"4000"`
	Rounds  int    `help:"Rounds." default:"5"`
	Fanfare string `help:"The fanfare program; default: built from the parent directory." env:"FANFARE_BIN" type:"existingfile"`
}

func (c *durableCommand) Run(ctx context.Context) error {
	costs, err := fault.MeasureDurableCost(ctx, c.Fanfare, c.Callers, c.Users, c.Pushes, c.Rounds, progress)
	fault.WriteDurableCosts(os.Stdout, costs)
	return err
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
