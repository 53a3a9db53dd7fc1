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
