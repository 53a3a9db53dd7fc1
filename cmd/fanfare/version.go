package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// version is set by -ldflags "-X main.version=…".
var version string

// buildVersion is the version of this program, or else the commit or module version that
// the go command has recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}

type versionCmd struct{}

func (versionCmd) Run() error {
	_, err := fmt.Fprintf(os.Stdout, "fanfare %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// versionFlag does what the command version does.
type versionFlag bool

// BeforeReset is called before anything else is checked, such as that there is a command.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	if err := (versionCmd{}).Run(); err != nil {
		return err
	}
	app.Exit(exitOK)
	return nil
}
