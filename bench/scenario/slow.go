package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/proc"
)

// slow compares how fast broadcasts reach the other receivers while a tenth of them is stuck with the same before and, if
// the server has kept the stuck connections, after it. Drift of the server or the machine is in both.
//
// A receiver is stuck when neither its kernel nor the server accepts more for it. Until then the kernel buffers some
// hundred messages for each, which costs more than delivering them. That takes seconds, is the same for all servers, and
// is over before the measured time.
var slow = Scenario{
	Name:  "slow",
	About: "a tenth of the receivers is stuck and reads nothing: what the others notice, compared with a time when all read",
	API:   true,
	Metrics: []Metric{
		{"kept", "kept of the rate", "", 2, 1},
		{"rate", "deliveries", "1/s", 0, 1},
		{"before", "all read", "1/s", 0, 1},
		serverCPU,
		{"server_us_before", "all read", "µs", 2, -1},
		{"last", "to the last", "ms", 1, -1},
		{"last_before", "all read", "ms", 1, -1},
		{Longest, "longest", "ms", 0, -1},
		{"grown_mib", "RSS grew by", "MiB", 1, -1},
		{"closed", "stuck closed", "", 0, 0},
	},
	// A stuck client answers no ping, and must not be closed for that.
	Ping: func(Plan) time.Duration { return time.Hour },
	Run: func(ctx context.Context, e *Env) error {
		e.mss = ethernetMSS
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		b := broadcaster{e: e, size: e.Plan.SlowSize, receivers: e.Case.Connections}
		if _, err := b.run(ctx, e.Plan.Warm, 1); err != nil {
			return err
		}
		all, err := b.run(ctx, e.Plan.Time, 1)
		if err != nil {
			return err
		}
		lastOfAll := b.median()
		small, err := e.rss()
		if err != nil {
			return err
		}

		const every = 10
		stuck, err := e.Fleet.Stick(ctx, every)
		if err != nil {
			return err
		}
		healthy := e.Case.Connections - stuck
		b.longest = 0
		b.receivers = 0 // the server may close the stuck ones
		r, err := b.fill(ctx)
		if err == nil {
			r, err = b.run(ctx, e.Plan.Time, 1)
		}
		late := errors.Is(err, errLate)
		if err != nil && !late {
			return fmt.Errorf("with %d stuck: %w", stuck, err)
		}
		large, err := e.rss()
		if err != nil {
			return err
		}
		last, longest := b.median(), b.longest
		if late {
			// The server waits for the stuck receivers, so it has no rate. How many others have received the message depends
			// on the order in which the server writes to them.
			last = arrivalLimit(e.Case.Connections)
			longest = last
		} else {
			after, closed, err := b.again(ctx)
			if err != nil {
				return fmt.Errorf("with %d awake again: %w", stuck, err)
			}
			e.Sample.Set("closed", float64(closed))
			if closed == 0 {
				all.Messages += after.Messages
				all.Elapsed += after.Elapsed
				all.Server += after.Server
				lastOfAll = (lastOfAll + b.median()) / 2
			}
		}

		e.Sample.Set("last", last.Seconds()*1e3)
		e.Sample.Set(Longest, longest.Seconds()*1e3)
		e.Sample.Set("last_before", lastOfAll.Seconds()*1e3)
		e.Sample.Set("grown_mib", (large-small)/(1<<20))
		// Only receivers that read are compared: what the others received before does not count.
		before := float64(all.Messages) / all.Elapsed.Seconds() * float64(healthy) / float64(e.Case.Connections)
		e.Sample.Set("before", before)
		if e.Server.PID() != 0 {
			e.Sample.Set("server_us_before", float64(all.Server)/1e3/float64(all.Messages))
		}
		if late {
			e.Sample.Set("rate", 0)
			e.Sample.Set("kept", 0)
			return nil
		}
		e.costs(r)
		e.Sample.Set("kept", e.Sample.Values["rate"]/before)
		return e.latency(r)
	},
}

// ethernetMSS is the segment size of most connections on the Internet. The size of a send buffer depends on it: with the
// segments of the loopback device it is several MiB.
const ethernetMSS = 1448

const (
	// fillQuiet is how long the kernel must have accepted nothing more for the stuck receivers. Its buffer grows in
	// steps, when the first probe of the closed window is answered, after 0.2 s.
	fillQuiet = time.Second
	// fillStep is the time between two checks.
	fillStep = 250 * time.Millisecond
	// fillQueue is the most that a server here may queue for one connection, in addition to the kernel's buffer.
	fillQueue = 1 << 20
	// fillLimit bounds each of the two steps.
	fillLimit = time.Minute
)

// fill posts broadcasts until neither the kernel of this machine nor the server accepts more for the stuck receivers.
func (b *broadcaster) fill(ctx context.Context) (r fleet.Result, err error) {
	most, grew, began := -1, load.Now(), load.Now()
	for load.Now()-grew < int64(fillQuiet) {
		if r, err = b.run(ctx, fillStep, 1); err != nil {
			return r, err
		}
		n, err := proc.Unsent(b.e.Server.Listen)
		if err != nil {
			return r, err
		}
		if n > most {
			most, grew = n, load.Now()
		}
		if load.Now()-began > int64(fillLimit) {
			return r, fmt.Errorf("the kernel still buffers messages for stuck receivers after %v", fillLimit)
		}
	}
	first, began := b.next, load.Now()
	for int(b.next-first)*b.size < fillQueue && load.Now()-began < int64(fillLimit) {
		if r, err = b.run(ctx, fillStep, 1); err != nil {
			break
		}
	}
	return r, err
}

// again makes the stuck receivers read what was kept for them, and records how many of them the server had closed. It
// measures again only if the server closed none.
func (b *broadcaster) again(ctx context.Context) (r fleet.Result, closed int, err error) {
	b.wake = true
	if r, err = b.run(ctx, 0, 1); err != nil {
		return r, 0, err
	}
	if closed = b.e.Case.Connections - r.Live; closed == 0 {
		r, err = b.run(ctx, b.e.Plan.Time, 1)
	}
	return r, closed, err
}

// rss returns the resident memory of the server, or 0 if its process is not known.
func (e *Env) rss() (float64, error) {
	if e.Server.PID() == 0 {
		return 0, nil
	}
	n, err := proc.RSS(e.Server.PID())
	return float64(n), err
}
