package settings

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
)

// Input is what the user has written: the command line, the environment and the config file.
type Input struct {
	*kong.Context

	lines map[string]int // of the keys in the config file
}

// Parse reads the command line, the environment and the config file into cli, a struct that
// describes the commands. Each of serves, which are parts of cli, gets to know which flags are
// set. After an error the Context may be nil.
func Parse(cli any, args []string, serves ...*Serve) (*Input, error) {
	unsetEmpty()
	in := new(Input)
	var err error
	in.Context, err = kong.Must(cli,
		kong.Name("fanfare"),
		kong.Description("A WebSocket push server for very many idle connections. "+
			"Every flag is also an environment variable: --ping-interval is FANFARE_PING_INTERVAL."),
		kong.DefaultEnvars("FANFARE"),
		kong.Bind(in),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		// kong's own formatter repeats the environment variable at every flag.
		kong.ValueFormatter(func(v *kong.Value) string { return v.Help }),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(mapDuration)),
		kong.KindMapper(reflect.Int, kong.MapperFunc(mapInt)),
	).Parse(args)
	if err != nil {
		return in, plainWords(err)
	}
	if err := checkSwitches(in.Context, args); err != nil {
		return in, err
	}
	g := givenFlags(in.Context)
	for _, s := range serves {
		s.given = g
	}
	return in, checkEmpty(in.Context, g)
}

// Sources says where the value of each flag is from.
func (in *Input) Sources() map[string]string {
	from := make(map[string]string)
	file := ""
	for _, f := range in.Flags() {
		from[f.Name] = "default"
		for _, env := range f.Envs {
			if os.Getenv(env) != "" {
				from[f.Name] = env
			}
		}
		if c, ok := in.FlagValue(f).(ConfigFile); ok {
			file = string(c)
		}
	}
	for _, p := range in.Path {
		switch {
		case p.Flag == nil:
		case p.Resolved:
			from[p.Flag.Name] = fmt.Sprintf("%s:%d", file, in.lines[p.Flag.Name])
		default:
			from[p.Flag.Name] = "command line"
		}
	}
	return from
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
