package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/alecthomas/kong"
)

// configFile is the flag that names a config file. kong's own one is read for
// every command as soon as the environment names it.
type configFile string

// BeforeResolve reads the file before kong looks where values come from.
func (configFile) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	if ctx.Command() != "serve" {
		return nil
	}
	c, err := k.LoadConfig(string(ctx.FlagValue(trace.Flag).(configFile)))
	if err == nil {
		err = c.Validate(k.Model)
	}
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	ctx.AddResolver(c)
	return nil
}

// config is a config file: one JSON object whose keys are the long flags of
// serve without their dashes. Command line goes before environment, environment
// before file, file before default. kong's own reader of JSON lets misspelled
// keys pass and the file override the environment, hence this one.
type config map[string]any

// loadConfig reads a config file; kong calls it for --config.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // 1048576 stays itself, and does not become 1.048576e+06
	var c config
	var syntax *json.SyntaxError
	switch err := d.Decode(&c); {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("%w, in line %d", err, 1+bytes.Count(text[:syntax.Offset], []byte("\n")))
	case err != nil: // empty, cut off, or something else
		return nil, errors.New(`want one JSON object, like {"listen": "127.0.0.1:8088"}`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one JSON object and nothing behind it")
	}
	return c, nil
}

// Validate refuses keys that no flag of serve has.
func (c config) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, cmd := range app.Children {
		if cmd.Name == "serve" {
			for _, f := range cmd.Flags {
				known[f.Name] = f.Name != "config"
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if !known[key] {
			return fmt.Errorf("unknown key %q; keys are the flags of serve without their dashes", key)
		}
	}
	return nil
}

// Resolve gives kong the value of a flag that the command line left open.
func (c config) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	switch v := c[flag.Name].(type) {
	case nil:
		return nil, nil
	case json.Number:
		return v.String(), nil
	case []any:
		var list []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("want a list of strings")
			}
			list = append(list, s)
		}
		return kong.JoinEscaped(list, ','), nil
	case string, bool:
		return v, nil
	default:
		return nil, errors.New("want a string, a number, true, false or a list of strings, not an object")
	}
}
