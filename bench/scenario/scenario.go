package scenario

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/servers"
)

// A Plan is what the user asked for.
type Plan struct {
	Connections int           `json:"connections"`
	Window      int           `json:"window"`   // handshakes under way at once
	InFlight    int           `json:"inflight"` // echoes under way at once
	Active      int           `json:"active"`   // connections that echo; 0 is all
	Depth       int           `json:"depth"`    // echoes sent in one write
	Size        int           `json:"size"`     // bytes per payload
	Warm        time.Duration `json:"warm"`
	Time        time.Duration `json:"time"`
	Settle      time.Duration `json:"settle"` // quiet before memory is read
	Binary      bool          `json:"binary"`
}

// A Metric is a column.
type Metric struct {
	Key      string `json:"key"`
	Title    string `json:"title"`
	Unit     string `json:"unit"`
	Decimals int    `json:"decimals"`
	Better   int    `json:"better"` // 1: more is better, -1: less is, 0: neither
}

// A Scenario is one thing to measure.
type Scenario struct {
	Name    string
	About   string
	Metrics []Metric // the first is the headline
	Needs   func(servers.Spec) bool
	Run     func(ctx context.Context, e *Env) error
}

// An Env is what a scenario works with: the plan, one fresh server, and the sample to fill.
type Env struct {
	Plan   Plan
	Server *servers.Server
	Fleet  *fleet.Fleet
	Sample *Sample
}

// A Sample is one measurement of one server.
type Sample struct {
	Scenario string             `json:"scenario"`
	Server   string             `json:"server"`
	Round    int                `json:"round"`
	Values   map[string]float64 `json:"values"`
	Latency  string             `json:"latency,omitempty"` // HDR histogram of nanoseconds
	Notes    []string           `json:"notes,omitempty"`
	Error    string             `json:"error,omitempty"`
}

func (s *Sample) set(key string, value float64) {
	if s.Values == nil {
		s.Values = map[string]float64{}
	}
	s.Values[key] = value
}

func (s *Sample) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// All lists the scenarios.
func All() []Scenario { return []Scenario{echo, broadcast, connect, idle} }

// handshakeLimit is how long a storm may take: 1 ms for each, four times what a slow server needs.
func handshakeLimit(count int) time.Duration {
	return 10*time.Second + time.Duration(count)*time.Millisecond
}

// dial opens the connections of the plan. For a path of push sessions it then waits for the server to have
// registered them all: most servers do so after they have answered the handshake.
func (e *Env) dial(ctx context.Context, path string) (fleet.Result, error) {
	r, err := e.Fleet.Dial(ctx, load.DialPlan{
		Window: e.Plan.Window,
		Path:   path,
		Limit:  handshakeLimit(e.Plan.Connections),
	}, e.Server.PID())
	if err != nil {
		return r, err
	}
	if err := e.Fleet.Faults().Err(); err != nil || path == echoPath {
		return r, err
	}
	return r, e.registered(ctx, e.Plan.Connections)
}

const (
	echoPath = "/echo"
	pushPath = "/ws?user=u{user}"
)

// registered waits until the server counts as many sessions.
func (e *Env) registered(ctx context.Context, sessions int) error {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		stats, err := e.Server.Stats(ctx)
		if err != nil {
			return err
		}
		if int(stats["sessions"]) == sessions {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server counts %v sessions where there are %d, after %v", stats["sessions"], sessions, limit)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// busy fills in how much of a core each side used, and says when the client was the bottleneck.
func (e *Env) busy(r fleet.Result) {
	cores := func(d time.Duration) float64 { return d.Seconds() / r.Elapsed.Seconds() }
	e.Sample.set("server_cores", cores(r.Server))
	e.Sample.set("client_cores", cores(r.Client))
	if cores(r.Busiest) > clientLimit {
		e.Sample.note("client-bound")
	}
}

// clientLimit is the share of a core above which a client, one thread, has nothing left to give.
const clientLimit = 0.95

// latency fills in the percentiles.
func (e *Env) latency(r fleet.Result) error {
	for key, q := range map[string]float64{"p50": 50, "p99": 99, "p999": 99.9} {
		e.Sample.set(key, float64(r.Latency.ValueAtQuantile(q))/1e3)
	}
	var err error
	e.Sample.Latency, err = fleet.Pack(r.Latency)
	return err
}

func micros(d time.Duration, n int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(max(n, 1))
}
