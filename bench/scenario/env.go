package scenario

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/proc"
	"fanfare/bench/servers"
)

// An Env is what a scenario works with: the plan, a new server, new clients, and the sample to fill in.
type Env struct {
	Plan   Plan
	Case   Case
	Server *servers.Server
	Fleet  *fleet.Fleet
	// Extra starts another fleet, for a different load. The caller closes it.
	Extra  func(ctx context.Context, connections int) (*fleet.Fleet, error)
	Sample *Sample
	TLS    bool // of the scenario, or of the server
	Events bool // of the scenario

	mss int // of the connections that dial opens; 0: that of the device
}

// A Sample is one measurement of one server.
type Sample struct {
	Scenario string             `json:"scenario"`
	Case     Case               `json:"case"`
	Server   string             `json:"server"`
	Round    int                `json:"round"`
	Values   map[string]float64 `json:"values"`
	Latency  string             `json:"latency,omitempty"` // HDR histogram of nanoseconds, V2 compressed
	Error    string             `json:"error,omitempty"`
	Skipped  string             `json:"skipped,omitempty"` // why it was not measured
}

// Keys of values that are not columns of a table, but may lead to remarks.
const (
	// ClientBound is how much of a core the busiest client used. It cannot use more than one.
	ClientBound = "client_bound"
	// Others is how many cores the rest of the machine used.
	Others = "others"
	// Stolen is how many cores the hypervisor took. The kernel charges that time to the process that would have run.
	Stolen = "stolen"
	// Lag is the 99th percentile of how late the pushes were posted, in milliseconds.
	Lag = "lag"
	// Longest is the longest time of a broadcast while receivers are stuck, in milliseconds.
	Longest = "longest"
)

// Set adds a value.
func (s *Sample) Set(key string, value float64) {
	if s.Values == nil {
		s.Values = map[string]float64{}
	}
	s.Values[key] = value
}

// echoPath and pushPath are the request targets of the two kinds of connections.
const (
	echoPath = "/echo"
	pushPath = "/ws?user={user}"
)

// handshakeLimit is how long all handshakes may take: 1 ms each, ten times what a slow server needs, and 10 ms with TLS.
func (e *Env) handshakeLimit() time.Duration {
	each := time.Millisecond
	if e.TLS {
		each = 10 * time.Millisecond
	}
	return 10*time.Second + time.Duration(e.Case.Connections)*each
}

// dial opens the connections of the case. For push sessions it then waits until the server has registered them all:
// most servers register a session after they have answered the handshake.
func (e *Env) dial(ctx context.Context, path string, topics *load.Topics) (fleet.Result, error) {
	r, err := e.dialWith(ctx, e.Fleet, e.Case.Connections, load.DialPlan{Path: path, Topics: topics})
	if err != nil || path == echoPath || e.Server.API == "" {
		return r, err
	}
	return r, e.registered(ctx, e.Case.Connections)
}

// dialWith opens the connections of a fleet, with tokens where the server has them. The plan is completed.
func (e *Env) dialWith(ctx context.Context, f *fleet.Fleet, connections int, plan load.DialPlan) (r fleet.Result, err error) {
	if plan.Tokens, err = e.Server.Tokens(load.UserNames(plan.First, connections)); err != nil {
		return r, err
	}
	plan.Path, plan.Window, plan.Limit, plan.MSS = e.Server.Path(plan.Path, e.Events), e.Plan.Window, e.handshakeLimit(), e.mss
	plan.Limit += time.Duration(connections*plan.Unread) * time.Millisecond
	if r, err = f.Dial(ctx, plan, e.Server.PID()); err != nil {
		return r, err
	}
	return r, f.Faults().Err()
}

// registered waits until the server counts that many sessions. A server that confirms each session to its client has
// registered all.
func (e *Env) registered(ctx context.Context, sessions int) error {
	if p := e.Server.Spec.Product; p != nil && !p.Counts {
		return nil
	}
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

// costs fills in the CPU time of both sides per message, and how much of a core they used.
func (e *Env) costs(r fleet.Result) {
	each := func(d time.Duration) float64 {
		return float64(d) / float64(time.Microsecond) / float64(max(r.Messages, 1))
	}
	cores := func(d time.Duration) float64 { return d.Seconds() / r.Elapsed.Seconds() }
	e.Sample.Set("rate", float64(r.Messages)/r.Elapsed.Seconds())
	if e.Server.PID() != 0 {
		e.Sample.Set("server_us", each(r.Server))
		e.Sample.Set("server_cores", cores(r.Server))
	}
	e.Sample.Set("client_us", each(r.Client))
	e.Sample.Set("client_cores", cores(r.Client))
	e.Sample.Set(ClientBound, cores(r.Busiest))
}

// latency fills in the percentiles, in microseconds.
func (e *Env) latency(r fleet.Result) (err error) {
	if r.Latency == nil || r.Latency.TotalCount() == 0 {
		return nil
	}
	for key, q := range map[string]float64{"p50": 50, "p99": 99, "p999": 99.9, "max": 100} {
		e.Sample.Set(key, float64(r.Latency.ValueAtQuantile(q))/1e3)
	}
	e.Sample.Latency, err = fleet.Pack(r.Latency)
	return err
}

// Columns of most scenarios.
var (
	serverCPU   = Metric{"server_us", "server CPU", "µs", 2, -1}
	clientCPU   = Metric{"client_us", "client CPU", "µs", 2, 0}
	serverCores = Metric{"server_cores", "server", "cores", 2, 0}
	clientCores = Metric{"client_cores", "client", "cores", 2, 0}
	p50         = Metric{"p50", "p50", "µs", 0, -1}
	p99         = Metric{"p99", "p99", "µs", 0, -1}
	p999        = Metric{"p999", "p99.9", "µs", 0, -1}
)

// sleep waits until d has passed or ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A meter measures CPU time between its start and its stop.
type meter struct {
	e      *Env
	pids   []int // of the clients
	at     int64
	server time.Duration
	client []time.Duration
}

// startMeter starts a meter of the server, the clients of e, and those of another fleet, which may be that of e, too.
func startMeter(e *Env, more ...*fleet.Fleet) (m *meter, err error) {
	m = &meter{e: e, at: load.Now(), pids: e.Fleet.PIDs()}
	for _, f := range more {
		if f != e.Fleet {
			m.pids = append(m.pids, f.PIDs()...)
		}
	}
	m.server, m.client, err = m.read()
	return m, err
}

func (m *meter) read() (server time.Duration, client []time.Duration, err error) {
	if pid := m.e.Server.PID(); pid != 0 {
		if server, err = proc.CPU(pid); err != nil {
			return 0, nil, err
		}
	}
	for _, pid := range m.pids {
		cpu, err := proc.CPU(pid)
		if err != nil {
			return 0, nil, err
		}
		client = append(client, cpu)
	}
	return server, client, nil
}

// stop returns a result with the times filled in.
func (m *meter) stop() (r fleet.Result, err error) {
	r.Elapsed = time.Duration(load.Now() - m.at)
	server, each, err := m.read()
	for i := range each {
		r.Client += each[i] - m.client[i]
		r.Busiest = max(r.Busiest, each[i]-m.client[i])
	}
	r.Server = server - m.server
	return r, err
}

// pushed ends a measurement of pushes, of which failed says what went wrong: the result has what the clients of f have
// received, including the broadcasts before number next, and the times of the meter. Without a failure that must be want.
func (m *meter) pushed(ctx context.Context, f *fleet.Fleet, want int, next uint32, failed error) (r fleet.Result, err error) {
	times, err := m.stop()
	if err != nil {
		return r, err
	}
	// The clients report even after a failure: what they received says more than the error.
	if r, err = f.End(context.WithoutCancel(ctx), next); err != nil {
		return r, err
	}
	if err := f.Faults().Err(); err != nil {
		return r, err
	}
	if failed == nil && r.Received != want {
		failed = fmt.Errorf("%d pushes were received, expected %d", r.Received, want)
	}
	return during(r, times), failed
}

// deliveries fills in the columns of pushes. Costs are per delivery, before the measured time, too.
func (e *Env) deliveries(r fleet.Result) error {
	measured := r.Messages
	r.Messages = r.Received
	e.costs(r)
	e.Sample.Set("rate", float64(measured)/e.Plan.Time.Seconds())
	return e.latency(r)
}

// during merges the report of the clients with the times of a meter.
func during(messages, times fleet.Result) fleet.Result {
	messages.Elapsed, messages.Server, messages.Client, messages.Busiest = times.Elapsed, times.Server, times.Client, times.Busiest
	return messages
}
