package fleet

import (
	"context"
	"fmt"
	"time"

	"fanfare/bench/load"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Result is the sum of the workers' reports.
type Result struct {
	Messages int                     // echoes, or handshakes, or pushes measured
	Received int                     // pushes, including those before the measured time, or stored messages
	Closed   int                     // connections closed by Churn
	Live     int                     // open connections that are not stuck
	Stuck    int                     // connections stopped by Stick
	Pings    int                     // answered since the last result
	Elapsed  time.Duration           // of the slowest worker
	Server   time.Duration           // CPU time of the server, measured by the first worker
	Client   time.Duration           // CPU time of all workers
	Busiest  time.Duration           // CPU time of the busiest worker: near Elapsed, that worker is the bottleneck
	Latency  *hdrhistogram.Histogram // nanoseconds
}

// ask sends each worker a command and returns the sum of the replies.
func (f *Fleet) ask(ctx context.Context, make func(i, count int) command) (total Result, err error) {
	for i, p := range f.workers {
		if err := p.send(make(i, f.share[i])); err != nil {
			return total, err
		}
	}
	for i, p := range f.workers {
		r, err := p.receive(ctx)
		if err != nil {
			return total, err
		}
		if err := total.add(r); err != nil {
			return total, err
		}
		if i == 0 {
			total.Server = r.Server
		}
		f.faults.Add(r.Faults)
	}
	return total, nil
}

func (t *Result) add(r reply) error {
	switch {
	case r.Dial != nil:
		t.Messages += r.Dial.Opened
		t.Received += r.Dial.Unread
		t.Elapsed = max(t.Elapsed, r.Dial.Elapsed)
	case r.Echo != nil:
		t.Messages += r.Echo.Messages
		t.Elapsed = max(t.Elapsed, r.Echo.Elapsed)
	case r.Pace != nil:
		t.Messages += r.Pace.Messages
	case r.Churn != nil:
		t.Messages += r.Churn.Opened
		t.Closed += r.Churn.Closed
	case r.Receive != nil:
		t.Messages += r.Receive.Measured
		t.Received += r.Receive.Received
	}
	t.Received += r.Count
	t.Live += r.Live
	t.Stuck += r.Stuck
	t.Pings += r.Pings
	t.Client += r.Client
	t.Busiest = max(t.Busiest, r.Client)
	if r.Latency == "" {
		return nil
	}
	h, err := Unpack(r.Latency)
	if err != nil {
		return err
	}
	if t.Latency == nil {
		t.Latency = h
	} else {
		t.Latency.Merge(h)
	}
	return nil
}

// Dial opens the Fleet's connections; plan's Count is filled in, its users, tokens and Window are divided.
func (f *Fleet) Dial(ctx context.Context, plan load.DialPlan, server int) (Result, error) {
	first, tokens := plan.First, plan.Tokens
	return f.ask(ctx, func(i, count int) command {
		p := plan
		p.Count, p.First, p.Window = count, first, part(plan.Window, i, len(f.workers))
		first += uint32(count)
		if tokens != nil {
			p.Tokens, tokens = tokens[:count], tokens[count:]
		}
		return command{Dial: &p, Server: server}
	})
}

// Echo runs an EchoPlan; its Active and InFlight are divided among the workers.
func (f *Fleet) Echo(ctx context.Context, plan load.EchoPlan, server int) (Result, error) {
	return f.ask(ctx, func(i, _ int) command {
		p := plan
		p.Active, p.InFlight = part(plan.Active, i, len(f.workers)), part(plan.InFlight, i, len(f.workers))
		return command{Echo: &p, Server: server}
	})
}

// Pace runs a PacePlan; its Rate is divided among the workers.
func (f *Fleet) Pace(ctx context.Context, plan load.PacePlan, server int) (Result, error) {
	return f.ask(ctx, func(i, _ int) command {
		p := plan
		p.Rate = part(plan.Rate, i, len(f.workers))
		return command{Pace: &p, Server: server}
	})
}

// part returns the i-th of n shares of total. A share is 0 only if total is.
func part(total, i, n int) int {
	if total == 0 {
		return 0
	}
	return max(1, total*(i+1)/n-total*i/n)
}

// Churn runs a ChurnPlan on the first worker.
func (f *Fleet) Churn(ctx context.Context, plan load.ChurnPlan) (Result, error) {
	one := &Fleet{workers: f.workers[:1], share: f.share[:1]}
	r, err := one.ask(ctx, func(int, int) command { return command{Churn: &plan} })
	f.faults.Add(one.faults)
	return r, err
}

// Stick makes every n-th connection stop reading.
func (f *Fleet) Stick(ctx context.Context, n int) (stuck int, err error) {
	r, err := f.ask(ctx, func(int, int) command { return command{Stick: n} })
	return r.Stuck, err
}

// Check returns the faults and answered pings since the workers last reported them.
func (f *Fleet) Check(ctx context.Context) (pings int, err error) {
	r, err := f.ask(ctx, func(int, int) command { return command{Faults: true} })
	if err != nil {
		return 0, err
	}
	return r.Pings, f.faults.Err()
}

// Receive prepares the workers for pushes, until End.
func (f *Fleet) Receive(ctx context.Context, plan load.ReceivePlan) error {
	_, err := f.ask(ctx, func(int, int) command { return command{Receive: &plan} })
	return err
}

// Arrived waits, during Receive, until broadcast seq has reached every connection, and returns when the last one
// received it.
func (f *Fleet) Arrived(ctx context.Context, seq uint32) (last int64, err error) {
	for _, p := range f.workers {
		for {
			var a load.Arrival
			select {
			case a = <-p.arrived:
			case <-ctx.Done():
				return last, fmt.Errorf("fleet: broadcast %d has not reached all connections: %w", seq, ctx.Err())
			}
			last = max(last, a.At)
			if a.Seq == seq {
				break
			}
		}
	}
	return last, nil
}

// Await waits, during Receive, until the workers have received that many pushes in all, or until limit has passed.
func (f *Fleet) Await(ctx context.Context, pushes int, limit time.Duration) error {
	over := time.After(limit)
	for {
		// Not with over as its limit: the replies to an abandoned command would be taken for those to the next one.
		r, err := f.ask(ctx, func(int, int) command { return command{Poll: true} })
		if err != nil {
			return err
		}
		if r.Received >= pushes {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return fmt.Errorf("fleet: %d of %d pushes received after %v", r.Received, pushes, limit)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// End stops receiving. next is the number of the next broadcast: a connection that has not received all before it has
// lost messages.
func (f *Fleet) End(ctx context.Context, next uint32) (Result, error) {
	return f.ask(ctx, func(int, int) command { return command{End: &next} })
}
