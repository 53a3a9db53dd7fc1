package scenario

import (
	"context"
	"math/rand/v2"

	"fanfare/bench/load"
)

// topicSkew is the exponent of Zipf's law: 1, as for words and channels.
const topicSkew = 1

var topics = Scenario{
	Name:    "topics",
	About:   "messages to random topics at a fixed rate; a few topics have very many subscribers, most have few",
	Payload: true,
	Pushes:  true,
	Metrics: []Metric{{"p99", "p99", "µs", 0, -1}, p50, p999, {"rate", "deliveries", "1/s", 0, 0}, serverCPU, clientCPU,
		serverCores, clientCores},
	Run: func(ctx context.Context, e *Env) error {
		zipf := &load.Topics{Count: e.Plan.Topics, Each: e.Plan.PerUser, Skew: topicSkew}
		if _, err := e.dial(ctx, pushPath+"{topics}", zipf); err != nil {
			return err
		}
		subscribers := zipf.Subscribers(e.Case.Connections)
		o := &openLoop{e: e, kind: load.KindTopic, rate: e.Plan.Publishes, target: func() (uint32, int) {
			topic := rand.Uint32N(uint32(e.Plan.Topics))
			return topic, subscribers[topic]
		}}
		r, err := o.run(ctx, e.Plan.Topics)
		if err != nil {
			return err
		}
		return o.report(r)
	},
}
