package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/servers"
)

var broadcast = Scenario{
	Name:    "broadcast",
	About:   "a payload goes to every connection; the next follows when the last receiver has received it",
	Own:     true,
	API:     true,
	Payload: true,
	Sizes:   true,
	Metrics: []Metric{{"rate", "deliveries", "1/s", 0, 1}, serverCPU, clientCPU, serverCores, clientCores,
		{"last", "to the last", "ms", 2, -1}, p50, p99},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		b := broadcaster{e: e, size: e.Case.Size, receivers: e.Case.Connections}
		if _, err := b.run(ctx, e.Plan.Warm, 1); err != nil {
			return err
		}
		r, err := b.run(ctx, e.Plan.Time, 1)
		if err != nil {
			return err
		}
		e.costs(r)
		e.Sample.Set("last", b.median().Seconds()*1e3)
		return e.latency(r)
	},
}

// A broadcaster posts broadcasts one after another, each once the previous one has reached every connection.
type broadcaster struct {
	e         *Env
	size      int
	every     time.Duration   // shortest time between two broadcasts
	receivers int             // that the server must report; 0: any number
	wake      bool            // whether stuck receivers read again from the next run on
	next      uint32          // number of the next broadcast
	last      []time.Duration // of each broadcast in the last run, from the post to the last receiver
	longest   time.Duration   // of the broadcasts of all runs, from the post until all have it and the API has answered
}

// errLate means that a broadcast took longer than arrivalLimit.
var errLate = errors.New("a broadcast has not reached all receivers that read")

// arrivalLimit is how long a broadcast may take: 10 s plus 1 ms for each receiver.
func arrivalLimit(receivers int) time.Duration {
	return 10*time.Second + time.Duration(receivers)*time.Millisecond
}

// run posts broadcasts for d, but at least so many, and waits until all have arrived.
func (b *broadcaster) run(ctx context.Context, d time.Duration, least int) (r fleet.Result, err error) {
	e := b.e
	if err := e.Fleet.Receive(ctx, load.ReceivePlan{Broadcast: b.next, Size: b.size, Wake: b.wake}); err != nil {
		return r, err
	}
	b.wake, b.last = false, b.last[:0]
	meter, err := startMeter(e)
	if err != nil {
		return r, err
	}
	var failed error
	for start := load.Now(); failed == nil && (len(b.last) < least || load.Now() < start+int64(d)); {
		due := load.Now() + int64(b.every)
		if failed = b.one(ctx); failed == nil && b.every > 0 {
			failed = sleep(ctx, time.Duration(due-load.Now()))
		}
	}
	times, err := meter.stop()
	if err != nil {
		return r, err
	}
	due := b.next
	if errors.Is(failed, errLate) {
		due-- // only some have received it
	}
	if r, err = e.Fleet.End(ctx, due); err != nil {
		return r, err
	}
	// A fault that the clients report says more than the failed wait.
	if err := e.Fleet.Faults().Err(); err != nil {
		if failed != nil && !errors.Is(failed, errLate) {
			err = errors.Join(failed, err)
		}
		return r, err
	}
	return during(r, times), failed
}

// one posts a broadcast and waits until all have received it.
func (b *broadcaster) one(ctx context.Context) error {
	limit := arrivalLimit(b.e.Case.Connections)
	soon, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at := load.Now()
	last, err := b.post(soon, at)
	if err != nil && ctx.Err() == nil && load.Now()-at >= int64(limit) {
		return fmt.Errorf("%w after %v: %w", errLate, limit, err)
	}
	if err == nil {
		took := time.Duration(last - at)
		b.last = append(b.last, took)
		b.longest = max(b.longest, time.Duration(load.Now()-at)) // a server may answer long after the last receiver has it
	}
	return err
}

func (b *broadcaster) post(ctx context.Context, at int64) (last int64, err error) {
	payload := load.Message{Kind: load.KindBroadcast, Seq: b.next, At: at}.Append(nil, b.size)
	b.next++
	n, err := b.e.Server.Broadcast(ctx, payload)
	if err != nil {
		return 0, err
	}
	if b.receivers != 0 && n != servers.Unknown && n != b.receivers {
		return 0, fmt.Errorf("the server names %d receivers of a broadcast to %d", n, b.receivers)
	}
	return b.e.Fleet.Arrived(ctx, b.next-1)
}

// median returns the median time from the post of a broadcast to its last receiver.
func (b *broadcaster) median() time.Duration {
	if len(b.last) == 0 {
		return 0
	}
	slices.Sort(b.last)
	return b.last[len(b.last)/2]
}
