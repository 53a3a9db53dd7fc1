package scenario

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/servers"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestAll(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range All() {
		if seen[s.Name] || s.About == "" || s.Run == nil || len(s.Metrics) == 0 {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
		keys := map[string]bool{}
		for _, m := range s.Metrics {
			if keys[m.Key] || m.Title == "" {
				t.Errorf("%s: %+v", s.Name, m)
			}
			keys[m.Key] = true
		}
	}
}

func TestFind(t *testing.T) {
	if all, err := Find([]string{"all"}); err != nil || len(all) != len(All()) {
		t.Errorf("%d scenarios: %v", len(all), err)
	}
	two, err := Find([]string{"echo", "idle"})
	if err != nil || len(two) != 2 || two[0].Name != "echo" {
		t.Errorf("%+v: %v", two, err)
	}
	if _, err := Find([]string{"echo", "dance"}); err == nil {
		t.Error("dance is a scenario")
	}
}

func TestCases(t *testing.T) {
	plan := Plan{Connections: []int{10, 20}, Sizes: []int{64, 128}, Depths: []int{1, 16}}
	tests := []struct {
		scenario Scenario
		want     []string
	}{
		{idle, []string{"10 connections", "20 connections"}},
		{push, []string{"10 connections, 64 bytes", "20 connections, 64 bytes"}},
		{broadcast, []string{"10 connections, 64 bytes", "10 connections, 128 bytes", "20 connections, 64 bytes", "20 connections, 128 bytes"}},
		{echo, []string{"10 connections, 64 bytes", "10 connections, 64 bytes, 16 per write", "10 connections, 128 bytes", "10 connections, 128 bytes, 16 per write",
			"20 connections, 64 bytes", "20 connections, 64 bytes, 16 per write", "20 connections, 128 bytes", "20 connections, 128 bytes, 16 per write"}},
	}
	for _, tt := range tests {
		t.Run(tt.scenario.Name, func(t *testing.T) {
			var got []string
			for _, c := range tt.scenario.Cases(plan) {
				got = append(got, c.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestExcludes(t *testing.T) {
	bare := servers.Spec{Target: &servers.Target{}}
	withAPI := servers.Spec{Target: &servers.Target{API: "http://x"}, Pushes: true}
	floor := servers.Spec{}
	for _, tt := range []struct {
		scenario Scenario
		spec     servers.Spec
		want     bool
	}{
		{echo, bare, true}, {connect, bare, true}, {broadcast, bare, false}, {slow, bare, false}, {push, bare, false},
		{broadcast, withAPI, true}, {push, withAPI, true},
		{broadcast, floor, true}, {push, floor, false}, {heartbeat, floor, false},
	} {
		why := tt.scenario.Excludes(tt.spec)
		if (why == "") != tt.want {
			t.Errorf("%s excludes %+v: %q", tt.scenario.Name, tt.spec, why)
		}
		if tt.spec.Target != nil && why != "" && !strings.Contains(why, "--target-api") {
			t.Errorf("%s: %q does not name the flag", tt.scenario.Name, why)
		}
	}
}

func TestCosts(t *testing.T) {
	h := hdrhistogram.New(1000, 100e9, 3)
	for i := range int64(1000) {
		h.RecordValue((i + 1) * 1000)
	}
	e := &Env{Sample: new(Sample), Server: &servers.Server{}}
	r := fleet.Result{Messages: 1000, Elapsed: 2 * time.Second, Server: time.Second, Client: 3 * time.Second, Busiest: 1940 * time.Millisecond, Latency: h}
	e.costs(r)
	if err := e.latency(r); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{"rate": 500, "client_us": 3000, "client_cores": 1.5, ClientBound: 0.97, "p50": 500, "p99": 990} {
		if got := e.Sample.Values[key]; got < want*0.999 || got > want*1.002 {
			t.Errorf("%s is %v, not %v", key, got, want)
		}
	}
	if _, ok := e.Sample.Values["server_us"]; ok {
		t.Error("the CPU time of a server whose process is not known")
	}
	if e.Sample.Latency == "" {
		t.Error("the histogram is not kept")
	}
}

func TestGrouped(t *testing.T) {
	for _, tt := range []struct {
		v        float64
		decimals int
		want     string
	}{{0, 0, "0"}, {7, 0, "7"}, {999, 0, "999"}, {1000, 0, "1,000"}, {1234567.891, 1, "1,234,567.9"}, {-1234, 0, "-1,234"}, {-0.001, 2, "0.00"}} {
		if got := Grouped(tt.v, tt.decimals); got != tt.want {
			t.Errorf("%v: %q, not %q", tt.v, got, tt.want)
		}
	}
}
