package scenario

import "context"

var connect = Scenario{
	Name:  "connect",
	About: "a storm of handshakes, a fixed number under way",
	Metrics: []Metric{
		{"rate", "handshakes", "1/s", 0, 1},
		{"server_us", "server CPU", "µs", 1, -1},
		{"client_us", "client CPU", "µs", 1, 0},
		{"server_cores", "server", "cores", 2, 0},
		{"client_cores", "client", "cores", 2, 0},
		{"p50", "p50", "µs", 0, -1},
		{"p99", "p99", "µs", 0, -1},
	},
	Run: func(ctx context.Context, e *Env) error {
		r, err := e.dial(ctx, pushPath)
		if err != nil {
			return err
		}
		e.Sample.set("rate", float64(r.Messages)/r.Elapsed.Seconds())
		e.Sample.set("server_us", micros(r.Server, r.Messages))
		e.Sample.set("client_us", micros(r.Client, r.Messages))
		e.busy(r)
		return e.latency(r)
	},
}
