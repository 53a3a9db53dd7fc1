package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"fanfare/bench/load"
	"fanfare/bench/servers"
)

// batchSize is the number of pushes in one request of push-batch.
const batchSize = 100

var (
	push1     = calls("push-1", "one caller pushes to random users, one request after another", 1, 1)
	push16    = calls("push-16", "16 callers push to random users, each one request after another", 16, 1)
	pushBatch = calls("push-batch", fmt.Sprintf("one caller pushes to random users, %d in a request", batchSize), 1, batchSize)
)

// calls returns a scenario in which callers push as fast as the server answers. The callers share the machine with the
// server, so the first column is the processor time of the server, which does not depend on how fast they are.
func calls(name, about string, callers, batch int) Scenario {
	s := Scenario{
		Name:    name,
		About:   about,
		Own:     true,
		Payload: true,
		Pushes:  true,
		Metrics: []Metric{serverCPU, {"rate", "pushes", "1/s", 0, 1}, {"caller_us", "caller CPU", "µs", 2, 0}, clientCPU,
			serverCores, {"caller_cores", "caller", "cores", 2, 0}, clientCores, p50, p99},
		Run: func(ctx context.Context, e *Env) error {
			if _, err := e.dial(ctx, pushPath, nil); err != nil {
				return err
			}
			return e.call(ctx, min(callers, e.Case.Connections), batch)
		},
	}
	if batch > 1 {
		s.Needs = "batch"
	}
	return s
}

// call pushes during the warm-up and the measured time. A user belongs to one caller, so its messages have an order.
func (e *Env) call(ctx context.Context, callers, batch int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := load.Now()
	from := start + int64(e.Plan.Warm)
	end := from + int64(e.Plan.Time)
	if err := e.Fleet.Receive(ctx, load.ReceivePlan{Size: e.Case.Size, From: from}); err != nil {
		return err
	}
	meter, err := startMeter(e)
	if err != nil {
		return err
	}
	own := selfCPU()
	next := make([]uint32, e.Case.Connections)
	sent := make([]int, callers)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			share := e.Case.Connections / callers
			for load.Now() < end && ctx.Err() == nil {
				pushes := make([]servers.Push, batch)
				for i := range pushes {
					user := uint32(rand.IntN(share)*callers + caller)
					body := load.Message{Kind: load.KindUser, Target: user, Seq: next[user], At: load.Now()}.Append(nil, e.Case.Size)
					next[user]++
					pushes[i] = servers.Push{User: load.UserName(user), Body: body}
				}
				if err := e.pushAll(ctx, pushes); err != nil {
					cancel(err)
					return
				}
				sent[caller] += batch
			}
		})
	}
	all.Wait()
	failed := context.Cause(ctx)
	pushes := 0
	for _, n := range sent {
		pushes += n
	}
	if failed == nil {
		failed = e.Fleet.Await(ctx, pushes, 10*time.Second)
	}
	own = selfCPU() - own
	r, err := meter.pushed(ctx, e.Fleet, pushes, 0, failed)
	if err != nil {
		return err
	}
	e.Sample.Set("caller_us", float64(own)/1e3/float64(max(1, pushes)))
	e.Sample.Set("caller_cores", own.Seconds()/r.Elapsed.Seconds())
	return e.deliveries(r)
}

// pushAll pushes one message, or several in one request.
func (e *Env) pushAll(ctx context.Context, pushes []servers.Push) error {
	if len(pushes) > 1 {
		return e.Server.PushBatch(ctx, pushes)
	}
	n, err := e.Server.PushUser(ctx, pushes[0].User, pushes[0].Body)
	if err == nil && n != 1 && n != servers.Unknown {
		err = fmt.Errorf("the server names %d receivers of a push to %s, which has one", n, pushes[0].User)
	}
	return err
}

// selfCPU returns the processor time of this process, which is the backend.
func selfCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
