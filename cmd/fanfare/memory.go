package main

import (
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// tuneRuntime fits the memory limit of the Go runtime to the container's, unless
// GOMEMLIMIT is set; GOMAXPROCS follows the CPU quota without help since Go 1.25. It
// returns the settings in force, for the log.
func tuneRuntime() []any {
	if limit, err := memlimit.FromCgroup(); err == nil && limit <= math.MaxInt64 && os.Getenv("GOMEMLIMIT") == "" {
		// The container also pays for what Go does not count: the binary, and the
		// kernel's socket buffers.
		debug.SetMemoryLimit(int64(limit / 10 * 9))
	}
	attrs := []any{slog.Int("gomaxprocs", runtime.GOMAXPROCS(0))}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		attrs = append(attrs, slog.Int64("gomemlimit", limit))
	}
	return attrs
}

// profileMemory turns off the samples of allocations, unless heap profiles are served. They
// cost an idle server with 10,000 sessions of TLS 70 bytes of RSS each: stacks are recorded,
// and the tables that describe the program's functions are read from disk.
func profileMemory(served bool) {
	if !served {
		runtime.MemProfileRate = 0
	}
}
