package servers

import (
	"context"
	_ "embed"
	"errors"
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
	return goCommand(ctx, dir, "build", "-o", program, "github.com/nats-io/nats-server/v2")
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
		version := ""
		build := buildModule
		switch name {
		case "centrifugo":
			path, version = &c.Centrifugo, centrifugoVersion
		case "mercure":
			path, version = &c.Mercure, mercureVersion
		case "nats":
			path, build = &c.NATS, func(ctx context.Context, _, program string) error { return BuildNATS(ctx, program) }
		default:
			continue
		}
		if *path != "" {
			continue
		}
		program := filepath.Join(dir, name+version)
		if _, err := os.Stat(program); err != nil || version == "" {
			if err := build(ctx, name, program); err != nil {
				return err
			}
		}
		*path = program
	}
	return nil
}

// buildModule builds a program from the module proxy in a temporary module, and moves it to its place when it is complete.
func buildModule(ctx context.Context, name, program string) error {
	dir, err := os.MkdirTemp("", "fanfare-bench-")
	if err != nil {
		return fmt.Errorf("servers: build %s: %w", name, err)
	}
	defer os.RemoveAll(dir)
	pkg, module := "", ""
	files := map[string][]byte{"go.mod": []byte("module program\n\ngo 1.26.0\n")}
	switch name {
	case "centrifugo":
		pkg = "github.com/centrifugal/centrifugo/v6"
		module = pkg + "@" + centrifugoVersion
	case "mercure":
		pkg, module = ".", "github.com/dunglas/mercure@"+mercureVersion
		files["main.go"] = mercureMain
	default:
		return errors.New("servers: no program is called " + name)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			return fmt.Errorf("servers: build %s: %w", name, err)
		}
	}
	if err := goCommand(ctx, dir, "get", module); err != nil {
		return err
	}
	part := program + ".part"
	if err := goCommand(ctx, dir, "build", "-mod=mod", "-ldflags", "-s -w", "-o", part, pkg); err != nil {
		return err
	}
	if err := os.Rename(part, program); err != nil {
		return fmt.Errorf("servers: build %s: %w", name, err)
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
