package attack

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/servers"
)

var fanfare string // the program

// worker and attacker are the commands of the load client and of the attackers.
var worker, attacker = []string{os.Args[0], "as-load"}, []string{os.Args[0], "as-attackers"}

// TestMain makes this program its own load client and its own attackers. With the race detector those of the soak program
// take their place, which is built without it: they send as fast as they can, and the detector would double what that
// costs.
func TestMain(m *testing.M) {
	if work, ok := map[string]func(in, out *os.File) error{"as-load": fleet.Work, "as-attackers": Work}[os.Args[len(os.Args)-1]]; ok {
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "attack-test-")
		if err == nil {
			defer os.RemoveAll(dir)
			fanfare = filepath.Join(dir, "fanfare")
			err = servers.Build(context.Background(), fanfare)
		}
		if err == nil && raceEnabled {
			soak := filepath.Join(dir, "soak")
			worker, attacker = []string{soak, "load-worker"}, []string{soak, "attack-worker"}
			var out []byte
			if out, err = exec.Command("go", "build", "-ldflags=-s -w", "-o", soak, "..").CombinedOutput(); err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		// Attacks mostly wait.
		flag.Parse()
		flag.Set("test.parallel", "8")
		return m.Run()
	}())
}

// TestAttacks runs the short forms and checks all bounds but those on latency. Each attack lasts until its counts are
// reached, so the speed of the machine does not matter.
func TestAttacks(t *testing.T) {
	for _, a := range All(true) {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			r, err := Run(t.Context(), a, short())
			if errors.Is(err, ErrNoNamespace) {
				t.Skip("no network namespace: ", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			var row strings.Builder
			r.Write(&row)
			t.Log("\n" + row.String())
			if len(r.Broken) > 0 {
				t.Errorf("%q", r.Broken)
			}
		})
	}
}

func short() Config {
	return Config{
		Fanfare: fanfare, Worker: worker, Attacker: attacker,
		Clients: 50, Before: 300 * time.Millisecond, During: 3 * time.Second,
	}
}

func TestNames(t *testing.T) {
	var names []string
	for _, a := range All(false) {
		if slices.Contains(names, a.Name) || a.attack == nil || a.count < 1 || a.memory < 1 || a.check == nil && len(a.need) == 0 {
			t.Errorf("%+v", a)
		}
		names = append(names, a.Name)
	}
	if all, err := Find(nil, false); err != nil || len(all) != len(names) {
		t.Errorf("%d attacks: %v", len(all), err)
	}
	if some, err := Find(names[1:3], true); err != nil || len(some) != 2 || some[0].Name != names[1] {
		t.Errorf("%v: %v", some, err)
	}
	if _, err := Find([]string{"nonsense"}, false); err == nil {
		t.Error("Find returned no error for an unknown attack")
	}
}

// TestBoundsBreak checks that a server which does not enforce a limit breaks the bounds.
func TestBoundsBreak(t *testing.T) {
	t.Parallel()
	a, err := find("per-user", true)
	if err != nil {
		t.Fatal(err)
	}
	a.flags = append(a.flags, "--sessions-per-user", "100") // rejects no attacker
	a.memory = -1 << 40                                     // the memory of 50 connections may be some that was free before
	a.need = nil                                            // or the attack would wait for it
	a.check = func(t *trial) { t.atLeast("rejected 429, Retry-After", 1) }
	cfg := short()
	cfg.During = time.Second
	r, err := Run(t.Context(), a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"grew by", `"rejected 429, Retry-After"`, `"opened"`, "sessions_per_user"} {
		if !slices.ContainsFunc(r.Broken, func(b string) bool { return strings.Contains(b, want) }) {
			t.Errorf("no broken bound mentions %s: %q", want, r.Broken)
		}
	}
}

// TestTwin measures both servers and leaves the verdict to the tests of Compare.
func TestTwin(t *testing.T) {
	t.Parallel()
	a, err := find("non-readers", true) // with a harmless load on the twin
	if err != nil {
		t.Fatal(err)
	}
	a.need = Outcome{"opened": 1} // the processes of attackers have the long form
	a.check = nil
	cfg := short()
	cfg.Judge, cfg.During = true, 2*time.Second
	r, err := Run(t.Context(), a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Before) == 0 || len(r.During) < 2 {
		t.Fatalf("%d seconds before and %d during the attack", len(r.Before), len(r.During))
	}
	for _, s := range r.During {
		for what, l := range map[string]Latencies{"attacked echo": s.Attacked.Echo, "attacked push": s.Attacked.Push, "twin echo": s.Twin.Echo, "twin push": s.Twin.Push} {
			// Echoes that are due at the end may count, too.
			if n := l.Count(); n < cfg.Clients || n >= 2*cfg.Clients {
				t.Errorf("%s: %d messages in a second, want %d", what, n, cfg.Clients)
			}
		}
	}
	seconds := len(r.During)
	r.Merge(&Result{Tries: 1, During: r.During, Outcome: Outcome{"opened": 1}})
	if r.Tries != 2 || len(r.During) != 2*seconds {
		t.Errorf("after a merge: %d tries, %d seconds", r.Tries, len(r.During))
	}
	var row strings.Builder
	r.Write(&row)
	if !strings.Contains(row.String(), "(2 tries)") {
		t.Error(row.String())
	}
	if strings.Contains(row.String(), "the twin had 0 ") || !strings.Contains(row.String(), "further sessions without harm") {
		t.Errorf("the twin had no harmless load:\n%s", row.String())
	}
}
