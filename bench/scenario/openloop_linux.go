package scenario

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/servers"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// An openLoop posts pushes at a fixed rate, whether or not the server keeps up. Each message carries the time at which it
// was due, so the latency of a push includes its wait for earlier ones: no coordinated omission.
type openLoop struct {
	e    *Env
	kind byte
	rate int
	// target draws the user or topic of the next push, and returns how many connections it must reach.
	target func() (target uint32, receivers int)
	// fleet receives the pushes; nil is that of e.
	fleet *fleet.Fleet
	// beside is broadcast at its pace meanwhile; nil: nothing.
	beside *broadcaster

	next []uint32 // number of the next push to each target
	lag  *hdrhistogram.Histogram
	// answer is how long after it was due each push of the measured time was answered.
	answer *hdrhistogram.Histogram
}

// posters is how many pushes may be pending at once. One goroutine posts all pushes to a target, so that they have an
// order that can be checked.
const posters = 32

type due struct {
	target    uint32
	receivers int
	seq       uint32
	at        int64
}

// run pushes during the warm-up and the measured time, and waits until all pushes have arrived. Messages and Latency of
// the result cover the measured time; CPU times and Received cover both.
func (o *openLoop) run(ctx context.Context, targets int) (r fleet.Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e := o.e
	if o.next == nil {
		o.next = make([]uint32, targets)
	}
	if o.fleet == nil {
		o.fleet = e.Fleet
	}
	o.lag, o.answer = hdrhistogram.New(1000, 100e9, 3), hdrhistogram.New(1000, 100e9, 3)
	start := load.Now() + int64(10*time.Millisecond)
	plan := load.ReceivePlan{Size: e.Case.Size, From: start + int64(e.Plan.Warm)}
	if o.beside != nil {
		plan.Users, plan.Broadcast = true, o.beside.next
	}
	if err := o.fleet.Receive(ctx, plan); err != nil {
		return r, err
	}
	meter, err := startMeter(e, o.fleet)
	if err != nil {
		return r, err
	}
	var (
		all        sync.WaitGroup
		mu         sync.Mutex
		deliveries int
	)
	queues := make([]chan due, posters)
	for i := range queues {
		queues[i] = make(chan due, o.rate) // one second of pushes each: a call times out before it is full
		all.Go(func() {
			for d := range queues[i] {
				mu.Lock()
				o.lag.RecordValue(min(max(load.Now()-d.at, 1000), 100e9))
				mu.Unlock()
				if err := o.post(ctx, d); err != nil {
					cancel(err)
					continue
				}
				mu.Lock()
				if d.at >= plan.From {
					o.answer.RecordValue(min(max(load.Now()-d.at, 1000), 100e9))
				}
				deliveries += d.receivers
				mu.Unlock()
			}
		})
	}
	var broadcasts sync.WaitGroup
	if o.beside != nil {
		broadcasts.Go(func() {
			if err := o.broadcasts(ctx, start+int64(e.Plan.Warm+e.Plan.Time)); err != nil {
				cancel(err)
			}
		})
	}
	o.schedule(ctx, start, queues)
	broadcasts.Wait()
	for _, q := range queues {
		close(q)
	}
	all.Wait()
	failed := context.Cause(ctx)
	next := uint32(0)
	if o.beside != nil {
		next = o.beside.next
		deliveries += int(next-plan.Broadcast) * besideUsers
	}
	if failed == nil {
		failed = o.fleet.Await(ctx, deliveries, 10*time.Second)
	}
	return meter.pushed(ctx, o.fleet, deliveries, next, failed)
}

// schedule hands out each push when it is due. It sleeps in the kernel, on its own thread: the timers of the runtime have
// a resolution of a millisecond only.
func (o *openLoop) schedule(ctx context.Context, start int64, queues []chan due) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	end := start + int64(o.e.Plan.Warm+o.e.Plan.Time)
	for i := 0; ; i++ {
		at := start + int64(i)*int64(time.Second)/int64(o.rate)
		if at >= end || ctx.Err() != nil {
			return
		}
		for load.Now() < at {
			ts := unix.NsecToTimespec(at)
			unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
		}
		target, receivers := o.target()
		d := due{target, receivers, o.next[target], at}
		o.next[target]++
		select {
		case queues[target%posters] <- d:
		case <-ctx.Done():
			return
		}
	}
}

func (o *openLoop) post(ctx context.Context, d due) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body := load.Message{Kind: o.kind, Target: d.target, Seq: d.seq, At: d.at}.Append(nil, o.e.Case.Size)
	push, name := o.e.Server.PushUser, load.UserName(d.target)
	if o.kind == load.KindTopic {
		push, name = o.e.Server.PushTopic, load.TopicName(d.target)
	}
	n, err := push(ctx, name, body)
	if err != nil {
		return err
	}
	if n != d.receivers && n != servers.Unknown {
		return fmt.Errorf("the server names %d receivers of a push to %s, which has %d", n, name, d.receivers)
	}
	return nil
}

// report fills in the sample.
func (o *openLoop) report(r fleet.Result) error {
	o.e.Sample.Set(Lag, float64(o.lag.ValueAtQuantile(99))/1e6)
	return o.e.deliveries(r)
}
