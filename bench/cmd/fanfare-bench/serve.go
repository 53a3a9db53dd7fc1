package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/floor"
	"fanfare/bench/peers"
)

type peerCommand struct {
	Name   string `arg:"" help:"The server; see list."`
	Listen string `help:"Address of /echo and /ws." required:""`
	API    string `help:"Address of the HTTP API." required:""`

	PingInterval time.Duration `help:"Ping interval." default:"25s"`
	PingTimeout  time.Duration `help:"Time limit for a pong." default:"10s"`
}

// Run serves until the server fails or ctx ends.
func (c *peerCommand) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- c.serve() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (c *peerCommand) serve() error {
	if loops, ok := strings.CutPrefix(c.Name, "floor"); ok {
		n, err := strconv.Atoi(loops)
		if err != nil || n < 1 {
			return fmt.Errorf("%q: want floor and a number of loops", c.Name)
		}
		return floor.Serve(c.Listen, c.API, n)
	}
	p, err := peers.Find(c.Name)
	if err != nil {
		return err
	}
	return p.Serve(peers.Options{Listen: c.Listen, API: c.API, Ping: c.PingInterval, PongWait: c.PingTimeout})
}

// A workerCommand is one process of the load client.
type workerCommand struct{}

func (workerCommand) Run() error { return fleet.Work(os.Stdin, os.Stdout) }
