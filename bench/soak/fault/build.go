package fault

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"fanfare/bench/servers"
)

// natsModule is built as the root module requires it, so that what is tested
// outside is what is embedded.
const natsModule = "github.com/nats-io/nats-server/v2"

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
		root, err := servers.Root()
		if err != nil {
			return p, err
		}
		cmd := exec.CommandContext(ctx, "go", "build", "-o", p.NATS, natsModule)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("fault: build nats-server: %w\n%s", err, out)
		}
	}
	return p, nil
}

// tempDir returns a new directory for files of processes.
func tempDir() (string, error) { return os.MkdirTemp("", "fanfare-fault-") }
