package fault

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ctx ends with Ctrl-C, so that the tests remove processes, namespaces and mounts.
var ctx context.Context

// TestMain fails if a test leaks goroutines.
func TestMain(m *testing.M) {
	var stop context.CancelFunc
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	goroutines := runtime.NumGoroutine()
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	web.CloseIdleConnections()
	dialer.CloseIdleConnections()
	for range 1000 {
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines && code == 0 {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines: %d, then %d\n%s\n", goroutines, n, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	stop()
	os.Exit(code)
}

// built has the programs, which are built once for all tests.
var built struct {
	once sync.Once
	dir  string
	Programs
	err error
}

func programs(t *testing.T) Programs {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes, not in short mode")
	}
	built.once.Do(func() {
		if built.dir, built.err = tempDir(); built.err == nil {
			built.Programs, built.err = Programs{os.Getenv("FANFARE_BIN"), os.Getenv("NATS_BIN")}.Build(ctx, built.dir)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.Programs
}
