package fault

import (
	"context"
	"os"
	"path/filepath"

	"fanfare/bench/servers"
)

// Programs are the programs under test.
type Programs struct{ Fanfare, NATS string }

// Build builds the programs that are not given into a directory.
func (p Programs) Build(ctx context.Context, dir string) (Programs, error) {
	var err error
	if p.Fanfare == "" {
		p.Fanfare = filepath.Join(dir, "fanfare")
		if err = servers.Build(ctx, p.Fanfare); err != nil {
			return p, err
		}
	}
	if p.NATS == "" {
		p.NATS = filepath.Join(dir, "nats-server")
		if err = servers.BuildNATS(ctx, p.NATS); err != nil {
			return p, err
		}
	}
	return p, nil
}

// tempDir returns a new directory for files of processes.
func tempDir() (string, error) { return os.MkdirTemp("", "fanfare-fault-") }
