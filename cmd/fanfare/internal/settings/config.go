package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ConfigFile is a flag that names a config file. kong's own type reads the file for
// every command as soon as the environment names it.
type ConfigFile string

// BeforeResolve reads the file before kong resolves the values of flags. If the
// environment names it, kong calls it for the flags of other commands, too.
func (ConfigFile) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path, in *Input) error {
	if cmd := ctx.Selected(); cmd == nil || !slices.Contains(cmd.Flags, trace.Flag) {
		return nil
	}
	file := string(ctx.FlagValue(trace.Flag).(ConfigFile))
	if file == "" {
		return checkEmpty(ctx, given{"config": true})
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	c, err := loadConfig(f)
	if err == nil {
		err = c.Validate(k.Model)
	}
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	in.lines = c.lines
	ctx.AddResolver(c)
	return nil
}

// config is a config file: one JSON object whose keys are the long flags of serve
// without their dashes. The command line has precedence over the environment, the
// environment over the file, and the file over defaults. kong's own reader of JSON
// ignores misspelled keys and lets the file override the environment.
type config struct {
	values map[string]jsontext.Value
	lines  map[string]int // of each key, the first is 1
}

// maxConfigFile is far above the size of a file with every flag.
const maxConfigFile = 1 << 20

// loadConfig reads a config file.
func loadConfig(r io.Reader) (*config, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxConfigFile+1))
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	if len(text) > maxConfigFile {
		return nil, fmt.Errorf("longer than %d bytes: want a config file", maxConfigFile)
	}
	var c config
	err = json.Unmarshal(text, &c.values)
	if err == nil && c.values != nil {
		c.lines = keyLines(text)
		return &c, nil
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		line := lineAt(text, e.ByteOffset)
		if errors.Is(e, jsontext.ErrDuplicateName) {
			return nil, fmt.Errorf("the key %q is there more than once, again in line %d", e.JSONPointer.LastToken(), line)
		}
		if !errors.Is(e, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w, in line %d", e.Err, line)
		}
	}
	return nil, errors.New(`want one JSON object, like {"listen": "127.0.0.1:8088"}`)
}

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}

// keyLines returns the line of each key of a valid object.
func keyLines(text []byte) map[string]int {
	lines := make(map[string]int)
	d := jsontext.NewDecoder(bytes.NewReader(text))
	d.ReadToken() // {
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			break
		}
		name := key.String()
		lines[name] = lineAt(text, d.InputOffset())
		d.SkipValue()
	}
	return lines
}

// Validate rejects keys that are not flags of serve.
func (c *config) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, cmd := range app.Children {
		if cmd.Name == "serve" {
			for _, f := range cmd.Flags {
				known[f.Name] = f.Name != "config"
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.values)) {
		if !known[key] {
			return fmt.Errorf("unknown key %q; keys are the flags of serve without their dashes", key)
		}
	}
	return nil
}

// Resolve gives kong the value of a flag that is not on the command line.
func (c *config) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	v, ok := c.values[flag.Name]
	if !ok {
		return nil, nil
	}
	switch v.Kind() {
	case 'n': // the default would come into force without a word
		return nil, errors.New("is null: want a value, or leave the key out")
	case '0':
		if flag.IsBool() {
			return nil, fmt.Errorf("want true or false, not %s", v)
		}
		return string(v), nil // 1048576 stays itself, and does not become 1.048576e+06
	case 't', 'f':
		if !flag.IsBool() {
			return nil, fmt.Errorf("want a string or a number, not %s", v)
		}
		return v.Kind() == 't', nil
	case '"':
		if flag.IsBool() {
			return nil, fmt.Errorf("want true or false, not %s", v)
		}
		var s string
		err := json.Unmarshal(v, &s)
		return s, err
	case '[':
		if !flag.IsSlice() {
			return nil, errors.New("want one value, not a list")
		}
		var list []string
		if json.Unmarshal(v, &list) != nil || slices.Contains(list, "") { // null becomes empty
			return nil, errors.New("want a list of strings that are not empty")
		}
		if len(list) == 0 {
			return nil, nil
		}
		return kong.JoinEscaped(list, ','), nil
	}
	return nil, errors.New("want a string, a number, true, false or a list of strings, not an object")
}
