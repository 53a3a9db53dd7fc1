package million

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var self string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "million-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		self = filepath.Join(dir, "bench")
		if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", self, "../cmd/fanfare-bench").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func config(n int) Config {
	return Config{Connections: n, Pushes: 20, Window: 10, Ping: time.Second, Server: "gws", Self: self}
}

// A hundred connections exercise the same steps as a million.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the server to settle")
	}
	var told []string
	r, err := Run(t.Context(), config(100), func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Received != 120 || r.Pings == 0 || r.RSS == 0 || r.RSSEach <= 0 || r.Goroutines < 100 || r.Broadcast <= 0 || r.PushP99 < r.PushP50 || r.CPU <= 0 {
		t.Errorf("%+v", r)
	}
	if len(told) < 4 {
		t.Errorf("told %q", told)
	}
	var text bytes.Buffer
	r.WriteText(&text)
	for _, want := range []string{"100 connections to one gws process", "120 messages, none lost"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}

func TestRunEndsEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	begin := time.Now()
	if _, err := Run(ctx, config(100), func(string, ...any) {}); err == nil {
		t.Error("no error")
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestFits(t *testing.T) {
	if !Fits(1) {
		t.Error("one connection does not fit")
	}
	if Fits(math.MaxInt32) {
		t.Error("two billion connections fit")
	}
}

func TestBootNeedsMemory(t *testing.T) {
	_, err := Boot(t.Context(), config(1<<30), os.Stderr)
	if err == nil || !strings.Contains(err.Error(), "MiB of free memory") {
		t.Error(err)
	}
}
