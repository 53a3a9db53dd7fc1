package scenario

import "context"

var connect = Scenario{
	Name:    "connect",
	About:   "as many handshakes as possible, a fixed number of them pending",
	Own:     true,
	Metrics: []Metric{{"rate", "handshakes", "1/s", 0, 1}, serverCPU, clientCPU, serverCores, clientCores, p50, p99},
	Run: func(ctx context.Context, e *Env) error {
		r, err := e.dial(ctx, pushPath, nil)
		if err != nil {
			return err
		}
		e.costs(r)
		return e.latency(r)
	},
}
