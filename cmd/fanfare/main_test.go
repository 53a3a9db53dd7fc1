package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fanfare/cmd/fanfare/internal/settings"
)

// beProgram makes the test binary be the program, so that tests start real
// processes which were built, with the race detector or not, as the tests were.
const beProgram = "BE_FANFARE"

// descriptorsEnv sets the descriptor limit of the program.
const descriptorsEnv = "BE_FANFARE_NOFILE"

// impatientEnv shortens settings.StoreTimeouts of the program.
const impatientEnv = "BE_FANFARE_IMPATIENT"

func limitDescriptors() {
	if n, err := strconv.ParseUint(os.Getenv(descriptorsEnv), 10, 32); err == nil {
		// As a shell does; the program was raised to the hard limit before.
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
}

// enterRoot and inNamespace let a test start the program in a directory of its own as
// root directory, where that is possible.
var (
	enterRoot   = func() error { return nil }
	inNamespace = func(*exec.Cmd) {}
)

// removeStatic removes what buildStatic has built.
var removeStatic = func() {}

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		if err := enterRoot(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailure)
		}
		limitDescriptors()
		if os.Getenv(impatientEnv) != "" {
			settings.StoreTimeouts.Each, settings.StoreTimeouts.Stop = time.Second, 100*time.Millisecond
		}
		os.Exit(run(os.Args[1:]))
	}
	// The runtime keeps the two descriptors of its poller from the first use on.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	code := m.Run()
	removeStatic()
	// A goroutine that is about to end may need a processor for it.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if runtime.NumGoroutine() <= goroutines && openDescriptors() <= descriptors {
			os.Exit(code)
		}
	}
	fmt.Fprintf(os.Stderr, "leaked: %d goroutines before, %d after; %d descriptors before, %d after\n",
		goroutines, runtime.NumGoroutine(), descriptors, openDescriptors())
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	os.Exit(1)
}

// openDescriptors is 0 where /proc does not tell.
func openDescriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// command is the program with arguments, without this process's environment as far as it
// concerns the program; env has entries like "FANFARE_API=…".
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, settings.EnvPrefix) && name != "GOMEMLIMIT" && name != "STATE_DIRECTORY" && name != "XDG_STATE_HOME" {
			cmd.Env = append(cmd.Env, e)
		}
	}
	// The race detector sleeps a second at the end of a program unless told not to.
	cmd.Env = append(append(cmd.Env, beProgram+"=1", "GORACE=atexit_sleep_ms=0", "HOME="+t.TempDir()), env...)
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, beProgram+"_IN=") }) {
		inNamespace(cmd)
	}
	return cmd
}

// withoutRace leaves a test to the pass without the race detector, which would multiply the
// time and find nothing: the test checks flags or a command that ends, or compares a document, a file
// of deploy or the clients of others with the program. The goroutines of the program run under
// the detector in the tests of its commands, and of the packages that it consists of.
func withoutRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("checks flags or commands, or compares with files and programs of others: runs without the race detector")
	}
}

type result struct {
	code           int
	stdout, stderr string
}

// runProgram runs the program to its end.
func runProgram(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	cmd := command(t, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	overdue := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	err := cmd.Start()
	if err == nil {
		err = cmd.Wait()
	}
	overdue.Stop()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestVersion(t *testing.T) {
	withoutRace(t)
	for _, arg := range []string{"version", "--version"} {
		r := runProgram(t, "", []string{"FANFARE_CONFIG=/nowhere", "FANFARE_VERSION=7"}, arg)
		if want := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"; r.code != exitOK ||
			!strings.HasPrefix(r.stdout, "fanfare ") || !strings.HasSuffix(r.stdout, want) || r.stderr != "" {
			t.Errorf("%s: %+v", arg, r)
		}
	}
}

func TestHelp(t *testing.T) {
	withoutRace(t)
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"push", "--help"}} {
		if r := runProgram(t, "", nil, args...); r.code != exitOK || !strings.Contains(r.stdout, "Usage: fanfare") || r.stderr != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// parseServe parses the flags of serve without running it.
func parseServe(t *testing.T, args ...string) *settings.Serve {
	t.Helper()
	var c cli
	if _, err := parse(&c, append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	return &c.Serve.Serve
}
