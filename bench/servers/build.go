package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the directory of the module fanfare around the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("servers: build fanfare: %w", err)
	}
	for ; !isFanfare(dir); dir = filepath.Dir(dir) {
		if dir == filepath.Dir(dir) {
			return "", errors.New("servers: build fanfare: no module fanfare above the working directory; name the program with --fanfare")
		}
	}
	return dir, nil
}

// Build builds the fanfare program from the module around the working directory and returns its path.
func Build(ctx context.Context, program string) (string, error) {
	dir, err := Root()
	if err != nil {
		return "", err
	}
	version := "unknown"
	describe := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
	describe.Dir = dir
	if out, err := describe.Output(); err == nil {
		version = strings.TrimSpace(string(out))
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-X fanfare/server.Version="+version, "-o", program, "./cmd/fanfare")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("servers: build fanfare: %w\n%s", err, out)
	}
	return program, nil
}

func isFanfare(dir string) bool {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	first, _, _ := strings.Cut(string(mod), "\n")
	return err == nil && strings.TrimSpace(first) == "module fanfare"
}

// Version asks the fanfare program, which answers "fanfare VERSION …".
func Version(program string) string {
	if program == "" {
		return ""
	}
	out, err := exec.Command(program, "version").Output()
	if words := strings.Fields(string(out)); err == nil && len(words) > 1 {
		return words[1]
	}
	return ""
}
