package scenario

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/fleet"
)

var heartbeat = Scenario{
	Name:   "heartbeat",
	About:  "what heartbeats of idle connections cost: the server pings, the clients answer",
	Pushes: true,
	Ping:   func(p Plan) time.Duration { return p.Heartbeat },
	Metrics: []Metric{
		{"server_us", "server CPU per ping", "µs", 2, -1},
		{"percent", "of a core", "%", 2, -1},
		{"client_us", "client CPU", "µs", 2, 0},
		{"pings", "pings per interval and connection", "", 2, 0},
	},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		// The first interval is warm-up: the server collects the garbage of the handshakes in it.
		if err := sleep(ctx, e.Plan.Heartbeat); err != nil {
			return err
		}
		if _, err := e.Fleet.Check(ctx); err != nil {
			return err
		}
		meter, err := startMeter(e)
		if err != nil {
			return err
		}
		const intervals = 2
		if err := sleep(ctx, intervals*e.Plan.Heartbeat); err != nil {
			return err
		}
		times, err := meter.stop()
		if err != nil {
			return err
		}
		pings, err := e.Fleet.Check(ctx)
		if err != nil {
			return err
		}
		each := float64(pings) / float64(intervals*e.Case.Connections)
		if each < 0.5 {
			return fmt.Errorf("%d pings to %d connections in %d intervals", pings, e.Case.Connections, intervals)
		}
		e.costs(during(fleet.Result{Messages: pings}, times))
		e.Sample.Set("percent", e.Sample.Values["server_cores"]*100)
		e.Sample.Set("pings", each)
		return nil
	},
}
