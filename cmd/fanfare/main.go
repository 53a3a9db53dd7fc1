package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

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

	lines map[string]int // of the keys in the config file
}

func main() { os.Exit(run(os.Args[1:])) }

// parse reads the command line, the environment and the config file.
func parse(into *cli, args []string) (*kong.Context, error) {
	unsetEmpty()
	ctx, err := kong.Must(into,
		kong.Name("fanfare"),
		kong.Description("A WebSocket push server for very many idle connections. "+
			"Every flag is also an environment variable: --ping-interval is FANFARE_PING_INTERVAL."),
		kong.DefaultEnvars("FANFARE"),
		kong.Bind(into),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		// kong's own formatter repeats the environment variable at every flag.
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(mapDuration)),
		kong.KindMapper(reflect.Int, kong.MapperFunc(mapInt)),
	).Parse(args)
	if err != nil {
		return ctx, plainWords(err)
	}
	if err := checkSwitches(ctx, args); err != nil {
		return ctx, err
	}
	g := givenFlags(ctx)
	into.Serve.given, into.Check.given = g, g
	into.Check.sources = sourcesOf(ctx, into.lines)
	return ctx, checkEmpty(ctx, g)
}

// lacksValue matches what kong says of a flag without a value, and of one whose value begins
// with a dash: that could be the next flag.
var lacksValue = regexp.MustCompile(`^(--[a-z-]+): expected \S+ value but got "([^"]*)" \((<EOL>|short flag|long flag)\)`)

// plainWords words such an error of kong.
func plainWords(err error) error {
	m := lacksValue.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return err
	case m[3] == "<EOL>":
		return &worded{m[1] + " needs a value", err}
	}
	return &worded{fmt.Sprintf("%s needs a value, and %q looks like a flag: if it is the value, write %s=%[2]s", m[1], m[2], m[1]), err}
}

// mapDuration is kong's decoder of durations, with days.
func mapDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := parseDuration(text)
	target.SetInt(int64(d))
	return err
}

// mapInt is kong's decoder of integers, with an error in plain words.
func mapInt(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("number", &text); err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, strconv.IntSize)
	if err != nil {
		return fmt.Errorf("want a whole number like 100, not %q", text)
	}
	target.SetInt(n)
	return nil
}

// run is the program. It prints one line to stderr if something is wrong, and returns the
// exit code.
func run(args []string) int {
	into := new(cli)
	var ctx *kong.Context
	pred, err := upgrade.Inherit()
	if err == nil {
		into.Serve.pred = pred
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
