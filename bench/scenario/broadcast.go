package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
)

var broadcast = Scenario{
	Name:    "broadcast",
	About:   "a payload goes to every connection; the next follows when the last receiver has it",
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

// A broadcaster posts broadcasts one after another: each when the one before has reached every connection.
type broadcaster struct {
	e         *Env
	size      int
	receivers int             // that the server has to name; 0 is any
	next      uint32          // number of the next
	last      []time.Duration // of each in the last run: from the post to the last receiver
}

// arrivalLimit is how long a broadcast may take: 10 s and 1 ms for each receiver.
func arrivalLimit(receivers int) time.Duration {
	return 10*time.Second + time.Duration(receivers)*time.Millisecond
}

// run posts broadcasts for d, but at least so many, and waits for all to have arrived.
func (b *broadcaster) run(ctx context.Context, d time.Duration, least int) (r fleet.Result, err error) {
	e := b.e
	if err := e.Fleet.Receive(ctx, load.ReceivePlan{Broadcast: b.next, Size: b.size}); err != nil {
		return r, err
	}
	b.last = b.last[:0]
	meter, err := startMeter(e)
	if err != nil {
		return r, err
	}
	var failed error
	for start := load.Now(); failed == nil && (len(b.last) < least || load.Now() < start+int64(d)); {
		failed = b.one(ctx)
	}
	times, err := meter.stop()
	if err != nil {
		return r, err
	}
	if r, err = e.Fleet.End(ctx, b.next); err != nil {
		return r, err
	}
	// A fault that the clients saw says more than the wait that it made fail.
	if err := e.Fleet.Faults().Err(); err != nil {
		return r, err
	}
	return during(r, times), failed
}

func (b *broadcaster) one(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, arrivalLimit(b.e.Case.Connections))
	defer cancel()
	at := load.Now()
	payload := load.Message{Kind: load.KindBroadcast, Seq: b.next, At: at}.Append(nil, b.size)
	b.next++
	n, err := b.e.Server.Broadcast(ctx, payload)
	if err != nil {
		return err
	}
	if b.receivers != 0 && n != b.receivers {
		return fmt.Errorf("the server names %d receivers of a broadcast to %d", n, b.receivers)
	}
	last, err := b.e.Fleet.Arrived(ctx, b.next-1)
	b.last = append(b.last, time.Duration(last-at))
	return err
}

// median is the time that a broadcast took to its last receiver.
func (b *broadcaster) median() time.Duration {
	slices.Sort(b.last)
	return b.last[len(b.last)/2]
}
