package scenario

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"fanfare/bench/load"
)

// besideUsers is how many users receive pushes in beside. Their client is a process of its own: that of the other
// connections is busy with the broadcasts, and would add its own delay.
const besideUsers = 200

var beside = Scenario{
	Name: "beside",
	About: "pushes to single users at a fixed rate, first alone, then beside a broadcast to every connection four times a second; " +
		"a client of its own receives the pushes; the answer is that of the API",
	Own:     true,
	Payload: true,
	Pushes:  true,
	Metrics: []Metric{{"p99", "p99 beside", "µs", 0, -1}, {"p99_alone", "p99 alone", "µs", 0, -1}, {"times", "p99 ratio", "", 1, -1},
		{"p50", "p50 beside", "µs", 0, -1}, {"p50_alone", "p50 alone", "µs", 0, -1},
		{"answer", "answer p99 beside", "µs", 0, -1}, {"answer_alone", "answer p99 alone", "µs", 0, -1}, {"last", "broadcast to the last", "ms", 2, -1},
		serverCores, clientCores},
	Run: func(ctx context.Context, e *Env) error {
		n := e.Case.Connections
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		f, err := e.Extra(ctx, besideUsers)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := e.dialWith(ctx, f, besideUsers, load.DialPlan{Path: pushPath, First: uint32(n)}); err != nil {
			return err
		}
		if err := e.registered(ctx, n+besideUsers); err != nil {
			return err
		}
		o := &openLoop{e: e, fleet: f, kind: load.KindUser, rate: e.Plan.Beside, target: func() (uint32, int) {
			return uint32(n) + rand.Uint32N(besideUsers), 1
		}}
		alone, err := o.run(ctx, n+besideUsers)
		if err != nil {
			return err
		}
		answered := func(key string) { e.Sample.Set(key, float64(o.answer.ValueAtQuantile(99))/1e3) }
		answered("answer_alone")
		o.beside = &broadcaster{e: e, size: e.Case.Size, every: pace, receivers: n + besideUsers}
		both, err := o.run(ctx, n+besideUsers)
		if err != nil {
			return err
		}
		answered("answer")
		if err := o.report(both); err != nil {
			return err
		}
		e.Sample.Set("last", o.beside.median().Seconds()*1e3)
		e.Sample.Set("p50_alone", float64(alone.Latency.ValueAtQuantile(50))/1e3)
		e.Sample.Set("p99_alone", float64(alone.Latency.ValueAtQuantile(99))/1e3)
		e.Sample.Set("times", e.Sample.Values["p99"]/e.Sample.Values["p99_alone"])
		return nil
	},
}

// broadcasts posts broadcasts at their pace until end, each once the previous one has reached every connection.
func (o *openLoop) broadcasts(ctx context.Context, end int64) (err error) {
	b, main := o.beside, o.e.Fleet
	if err := main.Receive(ctx, load.ReceivePlan{Broadcast: b.next, Size: b.size}); err != nil {
		return err
	}
	defer func() {
		_, failed := main.End(context.WithoutCancel(ctx), b.next)
		err = errors.Join(err, failed, main.Faults().Err())
	}()
	for due := load.Now(); err == nil && due < end; due += int64(b.every) {
		if err = sleep(ctx, time.Duration(due-load.Now())); err == nil {
			err = b.one(ctx)
		}
		if err == nil {
			_, err = o.fleet.Arrived(ctx, b.next-1)
		}
	}
	return err
}
