package scenario

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/load"
)

var echo = Scenario{
	Name:    "echo",
	About:   "the server echoes messages; some connections are active among many idle ones",
	Payload: true,
	Needs:   "echo",
	Sizes:   true,
	Depths:  true,
	Metrics: []Metric{{"rate", "echoes", "1/s", 0, 1}, serverCPU, clientCPU, serverCores, clientCores, p50, p99},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, echoPath, nil); err != nil {
			return err
		}
		r, err := e.Fleet.Echo(ctx, load.EchoPlan{
			Active:   min(e.Plan.Active, e.Case.Connections),
			InFlight: min(e.Plan.InFlight, e.Case.Connections),
			Depth:    e.Case.Depth,
			Size:     e.Case.Size,
			Warm:     e.Plan.Warm,
			Time:     e.Plan.Time,
			Grace:    5 * time.Second,
		}, e.Server.PID())
		if err != nil {
			return err
		}
		if err := e.Fleet.Faults().Err(); err != nil {
			return err
		}
		if r.Messages == 0 {
			return fmt.Errorf("no echo in %v", e.Plan.Time)
		}
		e.costs(r)
		return e.latency(r)
	},
}
