package scenario

import (
	"context"
	"time"
)

// paced is broadcast at a fixed pace. In broadcast each payload follows the previous one immediately, so the state of few
// connections stays in the processor's caches, and that of many does not. At four payloads a second no state stays there,
// as in a real deployment, so the cost of a delivery can be compared across numbers of connections.
var paced = Scenario{
	Name:    "paced",
	About:   "a payload goes to every connection four times a second: what a delivery to idle connections costs",
	Own:     true,
	API:     true,
	Payload: true,
	Sizes:   true,
	Metrics: []Metric{serverCPU, clientCPU, serverCores, clientCores, {"rate", "deliveries", "1/s", 0, 0}, {"last", "to the last", "ms", 2, -1}, p50, p99},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		b := broadcaster{e: e, size: e.Case.Size, receivers: e.Case.Connections, every: pace}
		if _, err := b.run(ctx, e.Plan.Warm, 1); err != nil {
			return err
		}
		r, err := b.run(ctx, max(e.Plan.Time, 4*pace), 1)
		if err != nil {
			return err
		}
		e.costs(r)
		e.Sample.Set("last", b.median().Seconds()*1e3)
		return e.latency(r)
	},
}

// pace is long enough for 20,000 deliveries of 10 µs.
const pace = 250 * time.Millisecond
