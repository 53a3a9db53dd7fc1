package scenario

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/load"
)

var echo = Scenario{
	Name:  "echo",
	About: "messages go to the server and come back; some connections are active among many idle ones",
	Metrics: []Metric{
		{"rate", "messages", "1/s", 0, 1},
		{"server_us", "server CPU", "µs", 2, -1},
		{"client_us", "client CPU", "µs", 2, 0},
		{"server_cores", "server", "cores", 2, 0},
		{"client_cores", "client", "cores", 2, 0},
		{"p50", "p50", "µs", 0, -1},
		{"p99", "p99", "µs", 0, -1},
	},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, echoPath); err != nil {
			return err
		}
		r, err := e.Fleet.Echo(ctx, load.EchoPlan{
			Active:   e.Plan.Active,
			InFlight: min(e.Plan.InFlight, e.Plan.Connections),
			Depth:    e.Plan.Depth,
			Size:     e.Plan.Size,
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
		e.Sample.set("rate", float64(r.Messages)/r.Elapsed.Seconds())
		e.Sample.set("server_us", micros(r.Server, r.Messages))
		e.Sample.set("client_us", micros(r.Client, r.Messages))
		e.busy(r)
		return e.latency(r)
	},
}
