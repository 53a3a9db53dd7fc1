package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"fanfare/bench/soak/fault"

	"github.com/alecthomas/kong"
)

// TestFaultHelp checks that the help and the README list all nemeses.
func TestFaultHelp(t *testing.T) {
	var p program
	var out bytes.Buffer
	k, err := kong.New(&p, append(options(), kong.Writers(&out, &out), kong.Exit(func(int) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	k.Parse([]string{"fault", "--help"})
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range fault.Nemeses() {
		if !strings.Contains(out.String(), n.Name+":") {
			t.Errorf("the help does not list %s", n.Name)
		}
		if !strings.Contains(string(readme), "`"+n.Name+"`") {
			t.Errorf("README.md does not list %s", n.Name)
		}
	}
}
