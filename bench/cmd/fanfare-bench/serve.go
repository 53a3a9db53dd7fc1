package main

import (
	"fmt"
	"os"
	"strings"

	"fanfare/bench/fleet"
	"fanfare/bench/floor"
)

type peerCommand struct {
	Name   string `arg:"" help:"Which: see list."`
	Listen string `help:"Address of /echo and /ws." required:""`
	API    string `help:"Address of the HTTP API." required:""`
}

func (c *peerCommand) Run() error {
	if loops, ok := strings.CutPrefix(c.Name, "floor"); ok {
		n := 0
		if _, err := fmt.Sscan(loops, &n); err != nil || n < 1 {
			return fmt.Errorf("%q: how many loops?", c.Name)
		}
		return floor.Serve(c.Listen, c.API, n)
	}
	return fmt.Errorf("no peer is called %q", c.Name)
}

// A workerCommand is one process of the load client.
type workerCommand struct{}

func (workerCommand) Run() error { return fleet.Work(os.Stdin, os.Stdout) }
