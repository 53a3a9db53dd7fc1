package attack

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/servers"
)

var fanfare string // the program

// TestMain makes this program its own load client and its own attackers.
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
			fanfare, err = servers.Build(context.Background(), filepath.Join(dir, "fanfare"))
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

// TestAttacks runs the short forms: all bounds but those of the latency, which a machine that does other
// things too does not keep.
func TestAttacks(t *testing.T) {
	for _, a := range All(true) {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			r, err := Run(t.Context(), a, short())
			if errors.Is(err, ErrNoNamespace) {
				t.Skip(err)
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
		Fanfare: fanfare, Worker: []string{os.Args[0], "as-load"}, Attacker: []string{os.Args[0], "as-attackers"},
		Clients: 48, Before: 300 * time.Millisecond, During: 3 * time.Second,
	}
}

func TestNames(t *testing.T) {
	var names []string
	for _, a := range All(false) {
		if slices.Contains(names, a.Name) || a.attack == nil || a.count < 1 || a.memory < 1 || a.check == nil && a.beside == nil {
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
		t.Error("nonsense is an attack")
	}
}

// TestBoundsBreak: a server that does not do what it must is found out.
func TestBoundsBreak(t *testing.T) {
	t.Parallel()
	a, err := find("per-user", true)
	if err != nil {
		t.Fatal(err)
	}
	a.flags = append(a.flags, "--sessions-per-user", "100") // nobody is refused
	a.memory = 1
	cfg := short()
	cfg.During = time.Second
	r, err := Run(t.Context(), a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"grew by", `"refused 429, Retry-After"`, `"opened"`, "sessions_per_user"} {
		if !slices.ContainsFunc(r.Broken, func(b string) bool { return strings.Contains(b, want) }) {
			t.Errorf("nothing of %s: %q", want, r.Broken)
		}
	}
}
