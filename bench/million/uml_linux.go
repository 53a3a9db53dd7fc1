package million

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// insideEnv is set for everything inside user-mode Linux.
const insideEnv = "FANFARE_BENCH_INSIDE"

// kernelName is the program that Debian's package installs.
const kernelName = "linux.uml"

// Fits reports whether the descriptor limit allows the connections, for the server and for the clients.
func Fits(connections int) bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return false
	}
	const others = 256
	return uint64(connections)+others <= limit.Max
}

// memoryNeeded returns the memory of the inner machine: per connection 9 KiB for both ends in the kernel and 3 KiB for server
// and clients with their garbage, plus a base.
func memoryNeeded(connections int) int64 { return int64(connections)*12<<10 + 512<<20 }

// Boot runs c inside user-mode Linux and returns its result. It writes the output from inside to out.
//
// It needs the package user-mode-linux, which it downloads and unpacks if it is not installed, and enough free memory for
// the connections. It creates files in one directory only, which it removes.
func Boot(ctx context.Context, c Config, out io.Writer) (*Result, error) {
	memory := memoryNeeded(c.Connections)
	free, err := freeMemory()
	if err != nil {
		return nil, fmt.Errorf("million: %w", err)
	}
	if free < memory {
		return nil, fmt.Errorf("million: %d connections need %d MiB of free memory; there are %d", c.Connections, memory>>20, free>>20)
	}
	dir, err := os.MkdirTemp("", "fanfare-million-")
	if err != nil {
		return nil, fmt.Errorf("million: %w", err)
	}
	defer os.RemoveAll(dir)
	kernel, err := findKernel(ctx, dir, out)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("million: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), b, 0o600); err != nil {
		return nil, fmt.Errorf("million: %w", err)
	}
	// Arguments that the kernel does not know become the environment of its first process.
	argv := []string{kernel, fmt.Sprintf("mem=%dM", memory>>20), "rootfstype=hostfs", "rootflags=/", "rw", "quiet",
		"con=null", "con0=fd:0,fd:1", "uml_dir=" + dir, "GODEBUG=" + debugInside(), "init=" + c.Self, dirEnv + "=" + dir}
	if bigRegisters() {
		argv = append([]string{c.Self, "million-kernel", "--"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR=/dev/shm") // its memory is an unlinked file there
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Its processes are those of the inner machine, and end with it.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	runtime.LockOSThread() // Pdeathsig refers to the thread
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	if cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	answer, readErr := os.ReadFile(filepath.Join(dir, answerFile))
	if readErr != nil {
		return nil, fmt.Errorf("million: user-mode Linux ended without an answer: %w", errors.Join(err, readErr))
	}
	var a struct {
		Result *Result
		Error  string
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("million: %w", err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Result, nil
}

// findKernel returns the installed program, or fetches the package and unpacks it in dir.
func findKernel(ctx context.Context, dir string, out io.Writer) (string, error) {
	if path, err := exec.LookPath(kernelName); err == nil {
		return path, nil
	}
	fmt.Fprintf(out, "million: fetching the package user-mode-linux into %s\n", dir)
	for _, argv := range [][]string{
		{"apt-get", "download", "-q", "user-mode-linux"},
		{"sh", "-c", "dpkg-deb --extract user-mode-linux_*.deb ."},
	} {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("million: more connections than descriptors allowed here need Debian's package user-mode-linux, which is neither installed nor to be had with apt-get: %w\n%s", err, text)
		}
	}
	return filepath.Join(dir, "usr/bin", kernelName), nil
}

func freeMemory() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no MemAvailable in /proc/meminfo")
}
