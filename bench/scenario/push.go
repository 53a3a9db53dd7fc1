package scenario

import (
	"context"
	"math/rand/v2"

	"fanfare/bench/load"
)

var push = Scenario{
	Name:    "push",
	About:   "a backend pushes to random users through the HTTP API, at a fixed rate whether or not the server keeps up",
	Own:     true,
	Payload: true,
	Pushes:  true,
	Metrics: []Metric{{"p99", "p99", "µs", 0, -1}, p50, p999, {"rate", "arrived", "1/s", 0, 0}, serverCPU, clientCPU,
		serverCores, clientCores},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		o := newPushes(e)
		r, err := o.run(ctx, e.Case.Connections)
		if err != nil {
			return err
		}
		return o.report(r)
	},
}

func newPushes(e *Env) *openLoop {
	return &openLoop{e: e, kind: load.KindUser, rate: e.Plan.Pushes, target: func() (uint32, int) {
		return rand.Uint32N(uint32(e.Case.Connections)), 1
	}}
}
