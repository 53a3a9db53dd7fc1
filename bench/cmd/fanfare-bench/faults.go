package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"fanfare/bench/fault"
)

type faultsCommand struct {
	Minutes float64       `help:"How long faults are done." default:"5"`
	Seed    uint64        `help:"Of what is random; 0: by the clock." default:"0"`
	Nodes   int           `help:"Nodes of fanfare." default:"3"`
	Users   int           `help:"Users." default:"60"`
	Pace    time.Duration `help:"Between two pushes to a user, on average." default:"100ms"`
	Cost    []int         `help:"Do nothing evil; measure what a push costs with so many nodes instead." placeholder:"1,2,4,8"`
	Pushes  int           `help:"Pushes for --cost." default:"20000"`
	JSON    string        `help:"Write the result to this file." type:"path" placeholder:"FILE"`
	Fanfare string        `help:"The fanfare program; built from the parent directory when empty." env:"FANFARE_BIN" type:"existingfile"`
	NATS    string        `name:"nats" help:"The nats-server program; built as the parent directory requires it when empty." env:"NATS_BIN" type:"existingfile"`
}

func (c *faultsCommand) Run(ctx context.Context) error {
	tell := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	if len(c.Cost) > 0 {
		costs, err := fault.MeasureCost(ctx, fault.Programs{Fanfare: c.Fanfare, NATS: c.NATS}, c.Cost, c.Pushes, tell)
		fault.WriteCosts(os.Stdout, costs)
		return err
	}
	r, err := fault.Run(ctx, fault.Options{
		Fanfare: c.Fanfare, NATS: c.NATS, Duration: time.Duration(c.Minutes * float64(time.Minute)), Seed: c.Seed,
		Nodes: c.Nodes, Users: c.Users, Pace: c.Pace, Log: tell,
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
