package servers

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildNATS builds the NATS server as the module fanfare requires it, so that what is measured is what is embedded.
func BuildNATS(ctx context.Context, program string) error {
	dir, err := Root()
	if err != nil {
		return err
	}
	return goCommand(ctx, dir, "build", "-ldflags=-s -w", "-o", program, "github.com/nats-io/nats-server/v2")
}

// mercureVersion is the version that is built and measured.
const mercureVersion = "v0.21.0"

// mercureMain is the program of the Mercure hub.
//
//go:embed mercure_main.txt
var mercureMain []byte

// BuildProducts builds the programs of other push servers into a directory that keeps them for later runs, and adds their
// paths to the catalog. A module of their own keeps their dependencies out of this one.
func (c *Catalog) BuildProducts(ctx context.Context, names []string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("servers: directory for programs: %w", err)
	}
	dir := filepath.Join(cache, "fanfare-bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("servers: directory for programs: %w", err)
	}
	for _, name := range names {
		var path *string
		var build func(ctx context.Context, program string) error
		version := "" // of the file; empty: what the module fanfare requires, which may have changed
		switch name {
		case "centrifugo":
			path, version, build = &c.Centrifugo, centrifugoVersion, buildCentrifugo
		case "mercure":
			path, version, build = &c.Mercure, mercureVersion, buildMercure
		case "nats":
			path, build = &c.NATS, BuildNATS
		default:
			continue
		}
		if *path != "" {
			continue
		}
		program := filepath.Join(dir, name+version)
		if _, err := os.Stat(program); err != nil || version == "" {
			if err := build(ctx, program); err != nil {
				return err
			}
		}
		*path = program
	}
	return nil
}

func buildCentrifugo(ctx context.Context, program string) error {
	const module = "github.com/centrifugal/centrifugo/v6"
	return buildModule(ctx, program, module+"@"+centrifugoVersion, module, nil)
}

func buildMercure(ctx context.Context, program string) error {
	return buildModule(ctx, program, "github.com/dunglas/mercure@"+mercureVersion, ".", mercureMain)
}

// buildModule builds a package in a temporary module that requires another from the module proxy, and moves the program to
// its place when it is complete. The module has a main.go with the text of source, unless that is nil.
func buildModule(ctx context.Context, program, requires, pkg string, source []byte) error {
	dir, err := os.MkdirTemp("", "fanfare-bench-")
	if err != nil {
		return fmt.Errorf("servers: build %s: %w", requires, err)
	}
	defer os.RemoveAll(dir)
	files := map[string][]byte{"go.mod": []byte("module program\n\ngo 1.26.0\n")}
	if source != nil {
		files["main.go"] = source
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			return fmt.Errorf("servers: build %s: %w", requires, err)
		}
	}
	if err := goCommand(ctx, dir, "get", requires); err != nil {
		return err
	}
	part := program + ".part"
	if err := goCommand(ctx, dir, "build", "-mod=mod", "-ldflags", "-s -w", "-o", part, pkg); err != nil {
		return err
	}
	if err := os.Rename(part, program); err != nil {
		return fmt.Errorf("servers: build %s: %w", requires, err)
	}
	return nil
}

func goCommand(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: go %s: %w\n%s", args[0], err, out)
	}
	return nil
}
