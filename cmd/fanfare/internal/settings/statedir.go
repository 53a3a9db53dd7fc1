package settings

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

const (
	noDataDir     = "none"
	localDataDir  = "fanfare-data"     // in the working directory
	systemDataDir = "/var/lib/fanfare" // where systemd makes the directory of a service of that name
)

// defaultDataDir is where durable messages are stored unless --data-dir says so: the
// Directory that systemd has made for the service (systemd.exec(5), StateDirectory=),
// or the one for the state of programs (XDG Base Directory Specification). Without a home
// Directory the program is a service: it is the directory for those, if root runs it, or one
// in the working directory.
func defaultDataDir() string { return defaultDataDirOf(os.Geteuid() == 0) }

func defaultDataDirOf(root bool) string {
	if dirs := os.Getenv("STATE_DIRECTORY"); dirs != "" {
		dir, _, _ := strings.Cut(dirs, ":")
		return dir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) { // others must be ignored
		return filepath.Join(dir, "fanfare")
	}
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		if info, err := os.Stat(home); err == nil && info.IsDir() {
			return filepath.Join(home, ".local", "state", "fanfare")
		}
	}
	if root {
		return systemDataDir
	}
	return localDataDir
}

// dataDir returns the directory for durable messages; empty: none.
func (f *inboxFlags) dataDir(log *slog.Logger) string {
	if f.NATS != "" {
		return ""
	}
	return DataDir(f.DataDir, log)
}

// DataDir returns the directory that a value of --data-dir stands for; empty: none.
func DataDir(value string, log *slog.Logger) string {
	switch value {
	case noDataDir:
		return ""
	case "":
	default:
		return value
	}
	dir := defaultDataDir()
	if _, err := os.Stat(localDataDir); err == nil && dir != localDataDir {
		log.Warn("unused data directory", "found", localDataDir, "used", dir, "advice", "to use it, start with --data-dir "+localDataDir)
	}
	return dir
}
