package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fanfare/bench/soak/upgrade"
)

type upgradeCommand struct {
	Sessions int           `help:"Sessions." default:"1000"`
	TLS      bool          `name:"tls" help:"The sessions use TLS 1.3."`
	Upgrades int           `help:"Number of upgrades." default:"20"`
	Faults   bool          `help:"Kill the new process of every second upgrade, at a random time."`
	Topics   int           `help:"Topics, with as many sessions each." default:"50"`
	Every    time.Duration `help:"Time between two messages of a topic." default:"250ms"`
	Fanfare  string        `help:"The fanfare program; default: built from the parent directory." env:"FANFARE_BIN" type:"existingfile"`
}

func (c *upgradeCommand) Run(ctx context.Context) error {
	r, err := upgrade.Run(ctx, upgrade.Options{
		Fanfare: c.Fanfare, Sessions: c.Sessions, TLS: c.TLS, Upgrades: c.Upgrades, Faults: c.Faults, Topics: c.Topics, Every: c.Every, Log: progress,
	})
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", b)
	return r.Err()
}
