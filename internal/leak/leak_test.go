package leak

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// childEnv names what TestMain of a child process of TestMainExits does.
const childEnv = "LEAK_TEST_CHILD"

// forever does not end.
func forever() { select {} }

// late ends soon, but after the tests.
func late() { time.Sleep(50 * time.Millisecond) }

func TestMain(m *testing.M) {
	within, permanent := time.Minute, []string{"leak.permanent"}
	switch os.Getenv(childEnv) {
	case "leaks":
		go forever()
		within = 50 * time.Millisecond
	case "late":
		go late()
	case "permanent":
		permanent = append(permanent, "leak.forever")
		go forever()
	case "fails":
		go forever() // which is not waited for
		Exit(3, within, func() []string { return Goroutines() })
	}
	Main(m, within, permanent...)
}

// TestMainExits runs these tests in another process, whose TestMain starts a goroutine.
func TestMainExits(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for child, want := range map[string]struct {
		code   int
		output string // on stderr
	}{
		"leaks":     {1, "leak.forever"},
		"late":      {0, ""},
		"permanent": {0, ""},
		"fails":     {3, ""},
	} {
		t.Run(child, func(t *testing.T) {
			t.Parallel()
			var stderr strings.Builder
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestMainExits$")
			// The race detector sleeps a second at the end of a program unless told not to.
			cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"="+child, "GORACE=atexit_sleep_ms=0"), &stderr
			if err, exit := cmd.Run(), (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			got := stderr.String()
			if code := cmd.ProcessState.ExitCode(); code != want.code || !strings.Contains(got, want.output) || (got == "") != (want.output == "") {
				t.Errorf("exit code %d, want %d, and %q on stderr:\n%s", code, want.code, want.output, got)
			}
		})
	}
}

func TestGoroutines(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	go waits(end)
	end <- struct{}{} // it has begun
	for _, test := range []struct {
		permanent []string
		want      bool
	}{{nil, true}, {[]string{"leak.else"}, true}, {[]string{"leak.else", "leak.waits"}, false}} {
		stacks := strings.Join(Goroutines(test.permanent...), "\n\n")
		if got := strings.Contains(stacks, "leak.waits"); got != test.want {
			t.Errorf("without %q the stacks have the goroutine: %t, want %t:\n%s", test.permanent, got, test.want, stacks)
		}
		if strings.Contains(stacks, "leak.Goroutines(") {
			t.Errorf("the stacks have the calling goroutine:\n%s", stacks)
		}
	}
}

func waits(end chan struct{}) {
	<-end
	<-end
}
