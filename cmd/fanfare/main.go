package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"fanfare/cmd/fanfare/internal/keeper"
	"fanfare/cmd/fanfare/internal/settings"
	"fanfare/cmd/fanfare/internal/upgrade"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // the command failed: port in use, API out of reach
	exitUsage   = 2 // flags, environment or config file are wrong
	exitOffline = 3 // fanfare users: a user is not connected
)

// exit is an error with an exit code. Other errors mean exitFailure.
type exit struct {
	code int
	err  error // nil: nothing is printed
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// usage makes an error one in what the user has written.
func usage(err error) error { return &exit{exitUsage, err} }

type cli struct {
	ShowVersion versionFlag `name:"version" help:"Print the version." env:"-"`

	Serve     serveCmd     `cmd:"" help:"Run the server."`
	Check     checkCmd     `cmd:"" help:"Check a configuration, and show what is in force."`
	Health    healthCmd    `cmd:"" help:"Ask a server whether it works."`
	Push      pushCmd      `cmd:"" help:"Push a message to a user, or publish it to a topic."`
	Broadcast broadcastCmd `cmd:"" help:"Send a message to every session."`
	Users     usersCmd     `cmd:"" help:"Show the sessions of users."`
	Upgrade   upgradeCmd   `cmd:"" help:"Replace the running server by a new process, without a disconnect."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

func main() { os.Exit(run(os.Args[1:])) }

// parse reads what the user has written into c.
func parse(c *cli, args []string) (*kong.Context, error) {
	in, err := settings.Parse(c, args, &c.Serve.Serve, &c.Check.Serve)
	if err == nil {
		c.Check.sources = in.Sources()
	}
	return in.Context, err
}

// run is the program. It prints one line to stderr if something is wrong, and returns the
// exit code.
func run(args []string) int {
	into := new(cli)
	var ctx *kong.Context
	pred, err := upgrade.Inherit()
	if err == nil {
		into.Serve.pred = pred
		into.Serve.kept, err = keeper.Inherit()
	}
	if err == nil {
		ctx, err = parse(into, args)
	}
	if err != nil {
		err = usage(fmt.Errorf("%w%s", err, hint(err)))
	} else {
		err = ctx.Run()
	}
	if err == nil {
		return exitOK
	}
	if pred != nil {
		pred.Send(upgrade.Message{Step: upgrade.Failed, Reason: oneLine(err.Error())})
	}
	code := exitFailure
	if e, ok := errors.AsType[*exit](err); ok {
		if code = e.code; e.err == nil {
			return code
		}
	}
	fmt.Fprintln(os.Stderr, "fanfare: "+oneLine(err.Error()))
	return code
}

// hint says where the flags are explained, unless kong suggests one.
func hint(err error) string {
	if strings.Contains(err.Error(), "did you mean") {
		return ""
	}
	of := ""
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context.Selected() != nil {
		of = p.Context.Selected().Name + " "
	}
	return "; see fanfare " + of + "--help"
}

// oneLine joins the lines of errors.Join.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }
