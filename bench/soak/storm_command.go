package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fanfare/bench/soak/fault"
	"fanfare/bench/soak/storm"
)

type stormCommand struct {
	Sessions int           `help:"Sessions of the node that is killed." default:"2000"`
	Healthy  int           `help:"Sessions of the other node that echo." default:"50"`
	Every    time.Duration `help:"Time between two echoes of one session." default:"50ms"`
	Spread   time.Duration `help:"Clients come back at a random time within this." default:"1s"`
	Backend  time.Duration `help:"What the backend of the connect hook takes to answer." default:"50ms"`
	Fanfare  string        `help:"The fanfare program; default: built from the parent directory." env:"FANFARE_BIN" type:"existingfile"`
	NATS     string        `name:"nats" help:"The nats-server program; default: built." type:"existingfile"`
}

func (c *stormCommand) Run(ctx context.Context) error {
	r, err := storm.Run(ctx, storm.Options{
		Programs: fault.Programs{Fanfare: c.Fanfare, NATS: c.NATS}, Sessions: c.Sessions, Healthy: c.Healthy, Every: c.Every,
		Spread: c.Spread, Backend: c.Backend, Log: progress,
	})
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", b)
	return nil
}
