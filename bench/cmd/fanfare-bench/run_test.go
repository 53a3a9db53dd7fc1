package main

import (
	"testing"

	"github.com/alecthomas/kong"
)

func parse(t *testing.T, args ...string) (*program, error) {
	t.Helper()
	p := new(program)
	k, err := kong.New(p, kong.Exit(func(int) { t.Error("exits") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Parse(args)
	return p, err
}

func TestRunChecksItsFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		ok   bool
	}{
		"defaults":         {nil, true},
		"several":          {[]string{"-n", "100,1000", "--size", "64,128", "--depth", "1,16"}, true},
		"zero rounds":      {[]string{"--rounds", "0"}, false},
		"zero connections": {[]string{"-n", "100,0"}, false},
		"too small":        {[]string{"--size", "10"}, false},
		"too large":        {[]string{"--size", "2000000"}, false},
		"slow too small":   {[]string{"--slow-size", "1"}, false},
		"zero depth":       {[]string{"--depth", "0"}, false},
		"zero time":        {[]string{"--time", "0s"}, false},
		"negative time":    {[]string{"--warm", "-1s"}, false},
		"zero rate":        {[]string{"--pushes", "0"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parse(t, append([]string{"run"}, tt.args...)...)
			if err == nil {
				err = p.Run.check()
			}
			if (err == nil) != tt.ok {
				t.Error(err)
			}
		})
	}
}

func TestShortIsAllowed(t *testing.T) {
	p, err := parse(t, "run", "--short")
	if err != nil {
		t.Fatal(err)
	}
	p.Run.shorten()
	if err := p.Run.check(); err != nil {
		t.Error(err)
	}
}
