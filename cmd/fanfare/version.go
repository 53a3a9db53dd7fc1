package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"fanfare/server"
)

// buildVersion is what this program is: what the Makefile has set by the linker's
// -X fanfare/server.Version=…, or what the go command noted of commit and module.
func buildVersion() string {
	if server.Version != "unknown" {
		return server.Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return server.Version
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
