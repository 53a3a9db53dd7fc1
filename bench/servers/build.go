package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Root returns the directory of the module fanfare that contains the working directory.
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

// Build builds the fanfare program as make build does, so that what is measured is what is shipped.
func Build(ctx context.Context, program string) error {
	dir, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "make", "--silent", "--no-print-directory", "build", "BIN="+program)
	cmd.Dir = dir
	// The variables of a make that runs this program do not apply to the new one.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=")
	})
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: build fanfare: %w\n%s", err, out)
	}
	return nil
}

// BuildTemp builds the fanfare program into a temporary directory, which remove removes.
func BuildTemp(ctx context.Context) (program string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "fanfare-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("servers: build fanfare: %w", err)
	}
	program = filepath.Join(dir, "fanfare")
	if err := Build(ctx, program); err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return program, func() { os.RemoveAll(dir) }, nil
}

func isFanfare(dir string) bool {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	first, _, _ := strings.Cut(string(mod), "\n")
	return err == nil && strings.TrimSpace(first) == "module fanfare"
}

// Version asks the fanfare program for its version.
func Version(program string) string {
	if program == "" {
		return ""
	}
	out, err := exec.Command(program, "version").Output() // prints "fanfare VERSION …"
	if words := strings.Fields(string(out)); err == nil && len(words) > 1 {
		return words[1]
	}
	return ""
}
