// Command soak attacks a server, causes faults of a cluster and of stores, and checks what clients notice.
//
//	go run ./soak attack --minutes 11
//	go run ./soak fault --minutes 2
//	go run ./soak upgrade --faults
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"fanfare/bench/fleet"
	"fanfare/bench/soak/attack"

	"github.com/alecthomas/kong"
)

type program struct {
	Attack   attackCommand   `cmd:"" help:"Attack a server and compare what its clients notice with a twin server."`
	Fault    faultCommand    `cmd:"" help:"Kill, freeze, disconnect and fill up the processes of a cluster, damage and replace what is stored, and check what arrives."`
	Upgrade  upgradeCommand  `cmd:"" help:"Replace a server again and again, and check what its clients notice."`
	Storm    stormCommand    `cmd:"" help:"Kill a node, whose sessions come back to another one, without and with resume tickets."`
	Cost     costCommand     `cmd:"" help:"Measure what pushes cost as a cluster grows."`
	Durable  durableCommand  `cmd:"" name:"durable-cost" help:"Measure what live and durable pushes cost one server."`
	Load     loadWorker      `cmd:"" hidden:"" name:"load-worker"`
	Attacker attackersWorker `cmd:"" hidden:"" name:"attack-worker"`
}

// A loadWorker is a process of healthy clients.
type loadWorker struct{}

func (loadWorker) Run() error { return fleet.Work(os.Stdin, os.Stdout) }

// An attackersWorker is a process of attackers.
type attackersWorker struct{}

func (attackersWorker) Run() error { return attack.Work(os.Stdin, os.Stdout) }

// options are those of the parser.
func options() []kong.Option {
	return []kong.Option{
		kong.Name("soak"),
		kong.Description("Test what a server survives: attacks, and faults of a cluster or of a store."),
		kong.Vars{"nemeses": describeNemeses()},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(new(program), append(options(), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)))...)
	err := k.Run()
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "soak: interrupted")
		os.Exit(128 + int(syscall.SIGINT))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// create writes a file, and closes it whether or not write succeeds.
func create(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
