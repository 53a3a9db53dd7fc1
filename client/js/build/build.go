// Package build builds the JavaScript client for the tests that use it.
//
// What the build needs is installed by npm once for each package-lock.json, into the
// user's cache directory; a lock keeps test processes apart that begin at the same time.
// The client itself is built in a directory of the caller, which takes less than a second.
package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds the installation and the build together.
const patience = 5 * time.Minute

// ErrMissing is returned if node or npm is not installed.
var ErrMissing = errors.New("build: node and npm are needed to build the JavaScript client; make test installs them")

// sources are what a build takes, relative to client/js.
var sources = []string{"package.json", "package-lock.json", "README.md", ".npmrc", "tsconfig.json", "build.mjs", "src", "test"}

// Into builds the client, whose sources are in the directory root, in dir, which then is
// like client/js after npm ci and npm run build: dir/dist/index.js is the client.
func Into(ctx context.Context, root, dir string) error {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: %w", ErrMissing, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, name := range sources {
		if err := place(filepath.Join(dir, name), filepath.Join(root, name)); err != nil {
			return err
		}
	}
	modules, err := Modules(ctx, root)
	if err != nil {
		return err
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		return err
	}
	return npm(ctx, dir, "run", "build")
}

// place copies a file or a directory.
func place(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// Modules returns the directory node_modules for the package in root, which has a
// package-lock.json and a .npmrc.
func Modules(ctx context.Context, root string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // no home directory
	}
	cache = filepath.Join(cache, "fanfare-client-js")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		sum.Write(b)
	}
	dir := filepath.Join(cache, fmt.Sprintf("%x-%s-%s", sum.Sum(nil)[:8], runtime.GOOS, runtime.GOARCH))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	fresh, err := os.MkdirTemp(cache, "install-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		if err := place(filepath.Join(fresh, name), filepath.Join(root, name)); err != nil {
			return "", err
		}
	}
	if err := npm(ctx, fresh, "ci", "--prefer-offline"); err != nil {
		return "", err
	}
	return modules, os.Rename(fresh, dir)
}

// lock waits for the lock of a file.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("build: another process has locked %s: %w", file, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func npm(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "npm", args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: npm %v: %w\n%s", args, err, out)
	}
	return nil
}
