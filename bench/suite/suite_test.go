package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/bench/report"
	"fanfare/bench/scenario"
	"fanfare/bench/servers"
)

var catalog servers.Catalog

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "suite-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		catalog.Self = filepath.Join(dir, "bench")
		if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", catalog.Self, "../cmd/fanfare-bench").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
		catalog.Fanfare = filepath.Join(dir, "fanfare")
		if err := servers.Build(context.Background(), catalog.Fanfare); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// tiny is a short plan.
func tiny() scenario.Plan {
	const moment = 100 * time.Millisecond
	return scenario.Plan{
		Connections: []int{30}, Sizes: []int{64}, Depths: []int{2}, Window: 10, InFlight: 5, Active: 10,
		Warm: moment, Time: moment, Settle: moment, Pushes: 200, Publishes: 100, Topics: 5, PerUser: 2,
		Heartbeat: time.Second, SlowSize: 8192, Churn: 100, Storms: 1, Beside: 100,
	}
}

func find(t *testing.T, names ...string) []servers.Spec {
	t.Helper()
	specs, err := catalog.Find(names)
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

// TestEveryScenario runs each scenario briefly, on fanfare with as much as it needs, and some on others, and checks that
// every column has a plausible number.
func TestEveryScenario(t *testing.T) {
	for server, names := range map[string][]string{
		"fanfare-epoll":   nil, // all that do not need more
		"fanfare-default": {"reconnect", "push-batch", "durable", "login-10", "sse-broadcast"},
		"fanfare-store":   {"push"},
		"fanfare-tokens":  {"churn"},
		"fanfare-wss":     {"broadcast"},
		"nbio":            {"echo", "push", "tls-echo"},
		"floor1":          {"idle", "broadcast"},
	} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			specs := find(t, server)
			var scenarios []scenario.Scenario
			for _, s := range scenario.All() {
				switch why := s.Excludes(specs[0]); {
				case names == nil && why == "" && s.Name != "push-16", slices.Contains(names, s.Name): // push-1 is the same
					scenarios = append(scenarios, s)
				}
			}
			run, err := Run(t.Context(), Config{
				Scenarios: scenarios, Servers: specs, Plan: tiny(), Rounds: 1, Worker: []string{catalog.Self, "load-worker"},
			})
			for _, s := range run.Samples {
				if s.Error != "" {
					t.Errorf("%s: %s", s.Scenario, s.Error)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(run.Samples) != len(scenarios) || names != nil && len(scenarios) != len(names) {
				t.Fatalf("%d samples of %d scenarios: %q", len(run.Samples), len(scenarios), names)
			}
			for i, s := range scenarios {
				for _, m := range s.Metrics {
					v, ok := run.Samples[i].Values[m.Key]
					if server == "floor1" && m.Key == "heap_kib" {
						continue // the floor does not report it
					}
					if !ok || v < -1000 || v > 1e9 || m.Key == "logins" && v != 60 {
						t.Errorf("%s: %s is %v (%t)", s.Name, m.Key, v, ok)
					}
				}
			}
		})
	}
}

// TestBlockedServer checks that a server which waits for stuck receivers does not fail the run, and that its row says
// so. The messages are longer than the classic server's buffer, so they come in fragments.
func TestBlockedServer(t *testing.T) {
	t.Parallel()
	slow, err := scenario.Find([]string{"slow"})
	if err != nil {
		t.Fatal(err)
	}
	plan := tiny()
	plan.Connections = []int{10}
	run, err := Run(t.Context(), Config{
		Scenarios: slow, Servers: find(t, "gorilla-classic"), Plan: plan, Rounds: 1, Worker: []string{catalog.Self, "load-worker"},
	})
	if err != nil {
		t.Fatalf("%v: %s", err, run.Samples[0].Error)
	}
	v := run.Samples[0].Values
	if v[scenario.Longest] < 10_000 || v["before"] <= 0 {
		t.Errorf("%v", v)
	}
	var table strings.Builder
	run.WriteScenario(&table, "slow")
	if want := "stuck receivers delayed a broadcast by 10 s or more in 1 of 1"; !strings.Contains(table.String(), want) {
		t.Errorf("%q is not in\n%s", want, table.String())
	}
}

func TestFailure(t *testing.T) {
	spec := servers.Spec{Name: "broken", Args: func(servers.Addresses, time.Duration) []string {
		return []string{"sh", "-c", "echo out of order; exit 3"}
	}}
	all, err := scenario.Find([]string{"connect"})
	if err != nil {
		t.Fatal(err)
	}
	run, err := Run(t.Context(), Config{Scenarios: all, Servers: []servers.Spec{spec}, Plan: tiny(), Rounds: 1})
	if !errors.Is(err, ErrFailed) || len(run.Samples) != 1 {
		t.Fatalf("%d samples: %v", len(run.Samples), err)
	}
	if why := run.Samples[0].Error; !strings.Contains(why, "out of order") || !strings.Contains(why, "exit status 3") {
		t.Error(why)
	}
}

func TestTooManyConnections(t *testing.T) {
	plan := tiny()
	plan.Connections = []int{1 << 30}
	all, err := scenario.Find([]string{"connect"})
	if err != nil {
		t.Fatal(err)
	}
	run, err := Run(t.Context(), Config{Scenarios: all, Servers: find(t, "gws"), Plan: plan, Rounds: 1})
	if err != nil || run.Samples[0].Skipped == "" {
		t.Errorf("%+v: %v", run.Samples, err)
	}
}

// TestInterrupted checks that an interrupted run keeps its samples, says so, and leaves no processes.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all, err := scenario.Find([]string{"echo"})
	if err != nil {
		t.Fatal(err)
	}
	plan := tiny()
	finished := 0
	begin := time.Now()
	run, err := Run(ctx, Config{
		Scenarios: all, Servers: find(t, "floor1"), Plan: plan, Rounds: 1000, Worker: []string{catalog.Self, "load-worker"},
		Progress: func(done, total int, what string) {
			if done == 1 {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
		},
		Finished: func(*report.Run, string) { finished++ },
	})
	if !errors.Is(err, context.Canceled) || run.Cut == "" || len(run.Samples) == 0 || finished != 1 {
		t.Errorf("%d samples, cut %q, finished %d times: %v", len(run.Samples), run.Cut, finished, err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("took %v to end", took)
	}
	out, _ := exec.Command("pgrep", "-f", catalog.Self).Output()
	if len(out) > 0 {
		t.Errorf("processes left: %s", out)
	}
}

// TestExcluded checks that a server which cannot take part is named with the reason.
func TestExcluded(t *testing.T) {
	all, err := scenario.Find([]string{"push"})
	if err != nil {
		t.Fatal(err)
	}
	mine, err := servers.ParseTarget("mine=ws://127.0.0.1:1/chat", "")
	if err != nil {
		t.Fatal(err)
	}
	run, err := Run(t.Context(), Config{Scenarios: all, Servers: []servers.Spec{mine}, Plan: tiny(), Rounds: 2})
	if err != nil || len(run.Samples) != 1 {
		t.Fatalf("%+v: %v", run.Samples, err)
	}
	var table strings.Builder
	run.WriteScenario(&table, "push")
	if want := "mine is left out: the scenario needs an HTTP API; give its URL with --target-api"; !strings.Contains(table.String(), want) {
		t.Errorf("%q is not in\n%s", want, &table)
	}
}
