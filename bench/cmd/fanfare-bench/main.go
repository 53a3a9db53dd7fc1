// Command fanfare-bench compares WebSocket push servers on this machine: fanfare, other libraries and designs, and a
// minimal server.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"fanfare/bench/million"

	"github.com/alecthomas/kong"
)

type program struct {
	Run           runCommand           `cmd:"" help:"Measure servers side by side."`
	List          listCommand          `cmd:"" help:"List scenarios and servers."`
	Report        reportCommand        `cmd:"" help:"Write tables or a page of charts of a saved run."`
	ServePeer     peerCommand          `cmd:"" help:"Run one of the other servers until SIGTERM."`
	Million       millionCommand       `cmd:"" help:"Hold a million connections to one server process."`
	LoadWorker    workerCommand        `cmd:"" hidden:""`
	MillionKernel millionKernelCommand `cmd:"" hidden:""`
	MillionInside millionInsideCommand `cmd:"" hidden:""`
}

func main() {
	if million.IsInit() {
		million.Init()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var p program
	k := kong.Parse(&p,
		kong.Name("fanfare-bench"),
		kong.Description("Compare WebSocket push servers on this machine."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	err := k.Run()
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "fanfare-bench: interrupted")
		os.Exit(128 + int(syscall.SIGINT))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanfare-bench:", err)
		os.Exit(1)
	}
}
