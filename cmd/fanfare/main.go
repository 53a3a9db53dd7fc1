package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // it was asked properly and did not work: port in use, API out of reach
	exitUsage   = 2 // it was asked wrongly: flags, environment, config file
	exitOffline = 3 // fanfare users: somebody is not connected
)

// exit is an error that chooses the exit code. Others mean exitFailure.
type exit struct {
	code int
	err  error // nil: all is said
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// usage is an error in what the user has written.
func usage(err error) error { return &exit{exitUsage, err} }

type cli struct {
	Serve     serveCmd     `cmd:"" help:"Run the server."`
	Push      pushCmd      `cmd:"" help:"Push a message to a user or a topic."`
	Broadcast broadcastCmd `cmd:"" help:"Push a message to everybody."`
	Users     usersCmd     `cmd:"" help:"Tell who is connected, and how."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

func main() { os.Exit(run(os.Args[1:])) }

// parse reads the command line, the environment and the config file.
func parse(into *cli, args []string) (*kong.Context, error) {
	return kong.Must(into,
		kong.Name("fanfare"),
		kong.Description("A WebSocket push server for very many idle connections. "+
			"Every flag is an environment variable too: --ping-interval is FANFARE_PING_INTERVAL."),
		kong.DefaultEnvars("FANFARE"),
		kong.Configuration(loadConfig),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		// kong's own formatter repeats the environment variable at every flag.
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }),
	).Parse(args)
}

// run is the program: one line on stderr for what is wrong, and the exit code.
func run(args []string) int {
	ctx, err := parse(new(cli), args)
	if err != nil {
		err = usage(fmt.Errorf("%w%s", err, hint(err)))
	} else {
		err = ctx.Run()
	}
	if err == nil {
		return exitOK
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

// hint says where the flags are explained, if kong has no idea what was meant.
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

// oneLine joins what errors.Join has set on lines of their own.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }
