package scenario

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
)

var churn = Scenario{
	Name:    "churn",
	About:   "connections open and close at a fixed rate while a backend pushes to others that stay open",
	Payload: true,
	Pushes:  true,
	Metrics: []Metric{{"p99", "push p99", "µs", 0, -1}, p50, p999, {"rate", "arrived", "1/s", 0, 0},
		{"churned", "came and went", "1/s", 0, 1}, {"hand99", "handshake p99", "µs", 0, -1}, serverCores, clientCores},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		passing, err := e.Extra(ctx, 1)
		if err != nil {
			return err
		}
		defer passing.Close()
		type churned struct {
			fleet.Result
			err error
		}
		done := make(chan churned, 1)
		d := e.Plan.Warm + e.Plan.Time
		plan := load.ChurnPlan{
			Rate: e.Plan.Churn, Hold: min(d/4, time.Second), Time: d, Grace: 10 * time.Second,
			First: uint32(e.Case.Connections), Path: e.Server.Path(pushPath, false),
		}
		if plan.Tokens, err = e.Server.Tokens(load.UserNames(plan.First, plan.Total())); err != nil {
			return err
		}
		go func() {
			r, err := passing.Churn(ctx, plan)
			done <- churned{r, err}
		}()
		o := newPushes(e)
		r, err := o.run(ctx, e.Case.Connections)
		c := <-done
		if err != nil {
			return err
		}
		if c.err != nil {
			return c.err
		}
		if err := passing.Faults().Err(); err != nil {
			return fmt.Errorf("churning connections: %w", err)
		}
		if c.Closed != c.Messages {
			return fmt.Errorf("%d connections came, %d went", c.Messages, c.Closed)
		}
		if err := o.report(r); err != nil {
			return err
		}
		e.Sample.Set("churned", float64(c.Messages)/d.Seconds())
		e.Sample.Set("hand99", float64(c.Latency.ValueAtQuantile(99))/1e3)
		// The server must have removed the closed sessions.
		return e.registered(ctx, e.Case.Connections)
	},
}
