package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// given are the flags that the user has set, on the command line, in the environment or
// in the config file. A switch that is set to off counts as not given.
type given map[string]bool

func givenFlags(ctx *kong.Context) given {
	g := make(given)
	note := func(f *kong.Flag) {
		if v, ok := ctx.FlagValue(f).(bool); !ok || v {
			g[f.Name] = true
		}
	}
	for _, p := range ctx.Path {
		if p.Flag != nil {
			note(p.Flag)
		}
		for _, f := range p.Flags {
			for _, env := range f.Envs {
				if os.Getenv(env) != "" {
					note(f)
				}
			}
		}
	}
	return g
}

// checkEffect rejects flags that have no effect in this combination: a user who gives
// them relies on them.
func (cmd *serveCmd) checkEffect() error {
	for _, rule := range []struct {
		flags string // names, or prefixes that end with "*"
		holds bool
		wants string
	}{
		{"compression-*", cmd.Compression, "--compression"},
		{"jwt-*", cmd.Auth == "jwt", "--auth jwt"},
		{"insecure-identity", cmd.Auth == "none", "--auth none"},
		{"nats-* node-name", cmd.NATS != "", "--nats"},
		{"inbox-* durable-topic plain-ack ready-needs-store", cmd.NATS != "" || cmd.DataDir != noDataDir, "a store: not --data-dir none"},
		{"inbox-sync inbox-accept-loss", cmd.NATS == "", "the store in --data-dir, not --nats"},
		{"trusted-proxy", !strings.HasPrefix(cmd.Listen, "unix:"), "--listen HOST:PORT: connections to a Unix socket have no address"},
	} {
		if rule.holds {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(cmd.given)) {
			for flag := range strings.FieldsSeq(rule.flags) {
				prefix, many := strings.CutSuffix(flag, "*")
				if name == flag || many && strings.HasPrefix(name, prefix) {
					return fmt.Errorf("--%s has no effect here: it needs %s", name, rule.wants)
				}
			}
		}
	}
	return nil
}
