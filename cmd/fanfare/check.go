package main

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

// checkCmd checks the configuration with which serve would start, and prints it.
type checkCmd struct {
	serveCmd `embed:""`

	sources map[string]string // where the value of each flag is from; set by parse
}

// Run prints one line for each flag: its name, its value, and where that is from. The exit
// code reports whether serve would accept the configuration; nothing is opened or written.
func (cmd *checkCmd) Run(k *kong.Kong) error {
	log := cmd.logger(new(slog.LevelVar))
	_, err := cmd.makePlan(log)
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	v := reflect.ValueOf(&cmd.serveCmd).Elem()
	for _, f := range flagFields {
		name := flagName(f)
		text := shown(v.FieldByIndex(f.Index))
		if unset, ok := cmd.unset(name, text); ok {
			text = unset
		}
		fmt.Fprintf(out, "%s\t%s\t%s\n", name, text, cmd.sources[name])
	}
	if os.Getenv(apiKeyEnv) != "" {
		fmt.Fprintf(out, "(one more API key)\txxxxx\t%s\n", apiKeyEnv)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	warnOfVariables(k.Model, log)
	if err != nil {
		return usage(err)
	}
	return nil
}

// unset describes what is in force where a flag has no value.
func (cmd *checkCmd) unset(name, text string) (string, bool) {
	switch {
	case name == "data-dir" && text == "" && cmd.NATS == "":
		return defaultDataDir(), true
	case name == "max-connections" && text == "0":
		return "(as many as descriptors allow)", true
	case name == "inbox-positions" && text == "0":
		return shown(reflect.ValueOf(cmd.InboxDisk / 16)), true
	case name == "allow-origin" && text == "":
		return "(the same host)", true
	case name == "echo":
		return fmt.Sprint(cmd.servesEcho()), true
	}
	return "-", text == ""
}

// sourcesOf says where the value of each flag is from.
func sourcesOf(ctx *kong.Context, lines map[string]int) map[string]string {
	from := make(map[string]string)
	file := ""
	for _, f := range ctx.Flags() {
		from[f.Name] = "default"
		for _, env := range f.Envs {
			if os.Getenv(env) != "" {
				from[f.Name] = env
			}
		}
		if c, ok := ctx.FlagValue(f).(configFile); ok {
			file = string(c)
		}
	}
	for _, p := range ctx.Path {
		switch {
		case p.Flag == nil:
		case p.Resolved:
			from[p.Flag.Name] = fmt.Sprintf("%s:%d", file, lines[p.Flag.Name])
		default:
			from[p.Flag.Name] = "command line"
		}
	}
	return from
}
