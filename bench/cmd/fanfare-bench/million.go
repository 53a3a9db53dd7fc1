package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"fanfare/bench/million"
	"fanfare/bench/servers"
)

type millionCommand struct {
	Connections  int           `help:"Connections." short:"n" default:"1000000"`
	Pushes       int           `help:"Pushes to random users." default:"1000"`
	Window       int           `help:"Pending handshakes." default:"200"`
	PingInterval time.Duration `help:"Ping interval of the server." default:"5m"`
	Stored       int           `help:"Every so many users have a durable message before they connect; 0: none has. Needs fanfare-store or fanfare-default." placeholder:"N"`
	Server       string        `help:"The server; see list." default:"fanfare-epoll"`
	UML          bool          `name:"uml" help:"Boot user-mode Linux even if the descriptor limit allows the connections."`
	Limit        time.Duration `help:"Time limit." default:"90m"`
	JSON         string        `help:"Write the result to this file." type:"path" placeholder:"FILE"`
	Fanfare      string        `help:"The fanfare program; default: built from the parent directory." env:"FANFARE_BIN" type:"existingfile"`
}

func (c *millionCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("not finished after %v", c.Limit))
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if c.Fanfare == "" {
		program, remove, err := servers.BuildTemp(ctx)
		if err != nil {
			return err
		}
		defer remove()
		c.Fanfare = program
	}
	if c.Stored < 0 {
		return errors.New("--stored: want at least 0")
	}
	if c.Connections < 1 || c.Pushes < 1 || c.Window < 1 {
		return errors.New("--connections, --pushes and --window: want at least 1")
	}
	config := million.Config{
		Connections: c.Connections, Pushes: c.Pushes, Window: c.Window, Ping: c.PingInterval, Stored: c.Stored, Server: c.Server, Fanfare: c.Fanfare, Self: self,
	}
	began := time.Now()
	tell := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	var result *million.Result
	if million.Fits(c.Connections) && !c.UML {
		result, err = million.Run(ctx, config, tell)
	} else {
		tell("booting user-mode Linux for %d connections", c.Connections)
		result, err = million.Boot(ctx, config, os.Stderr)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	result.WriteText(os.Stdout)
	if c.JSON != "" {
		return create(c.JSON, result.WriteJSON)
	}
	return nil
}

// A millionInsideCommand runs inside user-mode Linux.
type millionInsideCommand struct {
	Dir string `arg:""`
}

func (c *millionInsideCommand) Run(ctx context.Context) error {
	return million.Inside(ctx, c.Dir)
}

// A millionKernelCommand becomes the kernel of user-mode Linux.
type millionKernelCommand struct {
	Argv []string `arg:"" passthrough:""`
}

func (c *millionKernelCommand) Run() error {
	if len(c.Argv) > 0 && c.Argv[0] == "--" {
		c.Argv = c.Argv[1:]
	}
	return million.Exec(c.Argv)
}
