package scenario

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/bench/load"
)

var beside = Scenario{
	Name: "beside",
	About: "pushes to single users at a fixed rate, at first alone, then beside a broadcast to all connections four times a second: " +
		"what the answers of the API wait for",
	API:     true,
	Pushes:  true,
	Payload: true,
	Metrics: []Metric{{"p99", "p99", "µs", 0, -1}, p50, {"alone99", "p99 alone", "µs", 0, -1}, {"alone50", "p50 alone", "µs", 0, -1},
		{"times", "p99 / p99 alone", "", 1, -1}, {"last", "broadcast to the last", "ms", 1, -1}, serverCores, clientCores},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		p := pusher{e: e, next: make([]uint32, e.Case.Connections)}
		b := broadcaster{e: e, size: e.Case.Size, receivers: e.Case.Connections}
		if err := e.Fleet.Receive(ctx, load.ReceivePlan{Size: e.Case.Size}); err != nil {
			return err
		}
		if _, err := p.run(ctx, e.Plan.Warm); err != nil {
			return err
		}
		alone, err := p.run(ctx, e.Plan.Time)
		if err != nil {
			return err
		}
		meter, err := startMeter(e)
		if err != nil {
			return err
		}
		var over atomic.Bool
		broadcasts := make(chan error, 1)
		go func() {
			var err error
			for err == nil && !over.Load() {
				due := load.Now() + int64(pace)
				if err = b.one(ctx); err == nil {
					err = sleep(ctx, time.Duration(due-load.Now()))
				}
			}
			broadcasts <- err
		}()
		times, err := p.run(ctx, e.Plan.Time)
		over.Store(true)
		if err := errors.Join(err, <-broadcasts); err != nil {
			return err
		}
		cpu, err := meter.stop()
		if err != nil {
			return err
		}
		r, err := e.Fleet.End(ctx, b.next)
		if err != nil {
			return err
		}
		e.costs(during(r, cpu))
		quantile := func(of []time.Duration, q int) float64 { return float64(of[(len(of)-1)*q/100]) / 1e3 }
		e.Sample.Set("p50", quantile(times, 50))
		e.Sample.Set("p99", quantile(times, 99))
		e.Sample.Set("alone50", quantile(alone, 50))
		e.Sample.Set("alone99", quantile(alone, 99))
		e.Sample.Set("times", quantile(times, 99)/quantile(alone, 99))
		e.Sample.Set("last", b.median().Seconds()*1e3)
		return e.Fleet.Faults().Err()
	},
}

// A pusher posts pushes to random users at a fixed rate, whether or not the server keeps up.
type pusher struct {
	e    *Env
	mu   sync.Mutex
	next []uint32 // number of the next push to each user; guarded by mu
}

// run returns how long after it was due each push was answered, in order. The server answers when it has written the
// message.
func (p *pusher) run(ctx context.Context, d time.Duration) (took []time.Duration, err error) {
	o := openLoop{e: p.e, kind: load.KindUser, rate: p.e.Plan.Pushes, next: p.next, target: func() (uint32, int) {
		return rand.Uint32N(uint32(p.e.Case.Connections)), 1
	}}
	queues := make([]chan due, posters)
	var all sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan due, o.rate)
		all.Go(func() {
			for push := range queues[i] {
				e := o.post(ctx, push)
				p.mu.Lock()
				took, err = append(took, time.Duration(load.Now()-push.at)), errors.Join(err, e)
				p.mu.Unlock()
			}
		})
	}
	plan := p.e.Plan
	plan.Warm, plan.Time = 0, d
	env := *p.e
	env.Plan = plan
	o.e = &env
	o.schedule(ctx, load.Now()+int64(10*time.Millisecond), queues)
	for _, q := range queues {
		close(q)
	}
	all.Wait()
	if err == nil && len(took) == 0 {
		err = ctx.Err()
	}
	slices.Sort(took)
	return took, err
}
