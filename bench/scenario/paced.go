package scenario

import (
	"context"
	"time"
)

// paced is broadcast at the same pace for any number of connections. In broadcast the next payload follows the one
// before, so that with few connections each of them, and all that kernel and server know of it, is in the
// processor's caches all the time, and with many it is not. Between two messages that come a quarter of a second
// apart it never is, as in a real deployment: what a delivery costs can be compared.
var paced = Scenario{
	Name:    "paced",
	About:   "a payload goes to every connection four times a second, however many they are: what a delivery costs when all were idle before",
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
