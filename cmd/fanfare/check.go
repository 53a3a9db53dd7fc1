package main

import (
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"fanfare/cmd/fanfare/internal/settings"
)

// checkCmd checks the configuration with which serve would start, and prints it.
type checkCmd struct {
	settings.Serve `embed:""`

	sources map[string]string // where the value of each flag is from; set by parse
}

// Run prints one line for each flag: its name, its value, and where that is from. The exit
// code reports whether serve would accept the configuration; nothing is opened or written.
func (cmd *checkCmd) Run(k *kong.Kong) error {
	log := newLogger(&cmd.Serve, new(slog.LevelVar))
	_, err := cmd.Plan(log)
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, f := range cmd.Flags() {
		fmt.Fprintf(out, "%s\t%s\t%s\n", f.Name, cmd.InForce(f), cmd.sources[f.Name])
	}
	if os.Getenv(settings.APIKeyEnv) != "" {
		fmt.Fprintf(out, "(one more API key)\txxxxx\t%s\n", settings.APIKeyEnv)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	settings.WarnOfVariables(k.Model, log)
	if err != nil {
		return usage(err)
	}
	return nil
}
