package keeper

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanfare/cmd/fanfare/internal/upgrade"
)

func TestBackOff(t *testing.T) {
	k, now := new(keeper), time.Unix(1e9, 0)
	var delays []time.Duration
	for range mostDeaths - 1 {
		d, ok := k.backOff(now)
		if !ok {
			t.Fatalf("given up after %v", delays)
		}
		delays, now = append(delays, d), now.Add(time.Second)
	}
	if want := []time.Duration{0, firstDelay, 2 * firstDelay, 4 * firstDelay}; !slices.Equal(delays, want) {
		t.Errorf("delays %v: want %v", delays, want)
	}
	if _, ok := k.backOff(now); ok {
		t.Errorf("%d deaths within %v: want an end", mostDeaths, deathPeriod)
	}
	if d, ok := k.backOff(now.Add(deathPeriod)); d != 0 || !ok {
		t.Errorf("the first death after a quiet time: wait %v, %v", d, ok)
	}
	if n := len(k.deaths); n != 1 {
		t.Errorf("%d deaths are remembered: want 1", n)
	}
}

func TestSleepEndsAtSignal(t *testing.T) {
	signals := make(chan os.Signal, 2)
	k := &keeper{Config: Config{Signals: signals, Ends: func(s os.Signal) bool { return s == syscall.SIGTERM }}}
	signals <- syscall.SIGHUP
	if !k.sleep(time.Millisecond) {
		t.Error("SIGHUP ends the server")
	}
	signals <- syscall.SIGHUP
	signals <- syscall.SIGTERM
	if k.sleep(time.Hour) {
		t.Error("SIGTERM has not ended the wait")
	}
}

func TestExitCode(t *testing.T) {
	ended := func(script string) error { return exec.Command("/bin/sh", "-c", script).Run() }
	for _, test := range []struct {
		err  error
		code int
		how  string
	}{
		{nil, 0, "exit status 0"},
		{ended("exit 7"), 7, "exit status 7"},
		{ended("kill -9 $$"), 1, "signal: killed"},
		{errors.New("lost"), 1, "lost"},
	} {
		if code := exitCode(test.err); code != test.code || how(test.err) != test.how {
			t.Errorf("%v: code %d, %q: want %d, %q", test.err, code, how(test.err), test.code, test.how)
		}
	}
}

// TestRunOfFailures: a program that does not speak the protocol is not started again, and one that
// cannot be started is an error.
func TestRunOfFailures(t *testing.T) {
	cfg := Config{
		Path: "/bin/sh", Args: []string{"-c", "exit 7"}, Build: "test", Listeners: []upgrade.Listener{},
		Signals: make(chan os.Signal), Ends: func(os.Signal) bool { return true },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if code, err := Run(cfg); code != 7 || err != nil {
		t.Errorf("code %d, %v: want 7", code, err)
	}
	cfg.Path = "/nonexistent/fanfare"
	if code, err := Run(cfg); code != 1 || err == nil || !strings.Contains(err.Error(), "cannot start /nonexistent/fanfare") {
		t.Errorf("code %d, %v", code, err)
	}
}

func TestInherit(t *testing.T) {
	if kept, err := Inherit(); kept != nil || err != nil {
		t.Errorf("%v, %v without a keeper", kept, err)
	}
	for _, value := range []string{"", "x", "1"} {
		t.Setenv(variable, value)
		if _, err := Inherit(); err == nil || !strings.Contains(err.Error(), "unset it") {
			t.Errorf("%q: %v", value, err)
		}
		if _, ok := os.LookupEnv(variable); ok {
			t.Errorf("%s stays set", variable)
		}
	}
}
