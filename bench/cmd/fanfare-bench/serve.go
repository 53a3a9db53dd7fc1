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

	Cert    string `help:"A certificate, for a server with TLS."`
	Key     string `help:"Its key."`
	Fanfare string `help:"The fanfare program, for a proxy in front of it."`

	PingInterval time.Duration `help:"Ping interval." default:"25s"`
	PingTimeout  time.Duration `help:"Time limit for a pong." default:"10s"`
}

// Run serves until the server fails or ctx ends.
func (c *peerCommand) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- c.serve(ctx) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		if c.Name == "haproxy" {
			<-failed // its processes have ended
		}
		return nil
	}
}

func (c *peerCommand) serve(ctx context.Context) error {
	if c.Name == "haproxy" {
		return c.proxy().Serve(ctx)
	}
	if loops, ok := strings.CutPrefix(c.Name, "floor"); ok {
		n, err := strconv.Atoi(loops)
		if err != nil || n < 1 {
			return fmt.Errorf("%q: want floor and a number of loops", c.Name)
		}
		return floor.Serve(c.Listen, c.API, n, c.Cert, c.Key)
	}
	p, err := peers.Find(c.Name)
	if err != nil {
		return err
	}
	return p.Serve(peers.Options{Listen: c.Listen, API: c.API, Ping: c.PingInterval, PongWait: c.PingTimeout, Cert: c.Cert, Key: c.Key})
}

func (c *peerCommand) proxy() peers.Proxy {
	return peers.Proxy{
		Listen: c.Listen, Key: c.Key,
		Backend: func(listen string) []string {
			return []string{c.Fanfare, "serve", "--listen", listen, "--api", c.API, "--data-dir", "none",
				"--ping-interval", c.PingInterval.String(), "--ping-timeout", c.PingTimeout.String(),
				"--max-message", "1MiB", "--log-level", "warn"}
		},
	}
}

// A workerCommand is one process of the load client.
type workerCommand struct{}

func (workerCommand) Run() error { return fleet.Work(os.Stdin, os.Stdout) }
