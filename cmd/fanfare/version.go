package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

// version is set by the Makefile: -ldflags "-X main.version=…".
var version string

// buildVersion is the version of this program, or else the commit or module that the go
// command noted.
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
