package scenario

import (
	"context"
	"fmt"

	"fanfare/bench/proc"
)

var slow = Scenario{
	Name:  "slow",
	About: "a tenth of the receivers stop reading: what the others notice, against themselves before",
	API:   true,
	Metrics: []Metric{
		{"kept", "of the rate before", "", 2, 1},
		{"rate", "deliveries", "1/s", 0, 1},
		{"before", "before", "1/s", 0, 1},
		serverCPU,
		{"last", "to the last", "ms", 1, -1},
		{"last_before", "before", "ms", 1, -1},
		{"grown_mib", "RSS grew by", "MiB", 1, -1},
	},
	Run: func(ctx context.Context, e *Env) error {
		e.mss = ethernetMSS
		if _, err := e.dial(ctx, pushPath, nil); err != nil {
			return err
		}
		b := broadcaster{e: e, size: e.Plan.SlowSize, receivers: e.Case.Connections}
		if _, err := b.run(ctx, e.Plan.Warm, 1); err != nil {
			return err
		}
		before, err := b.run(ctx, e.Plan.Time, 1)
		if err != nil {
			return err
		}
		// What goes to those who are to get stuck does not count: it is the others who are compared.
		healthy := float64(before.Messages) / before.Elapsed.Seconds()
		lastBefore := b.median()
		small, err := e.rss()
		if err != nil {
			return err
		}

		const every = 10
		stuck, err := e.Fleet.Stick(ctx, every)
		if err != nil {
			return err
		}
		healthy *= float64(e.Case.Connections-stuck) / float64(e.Case.Connections)
		// The server may close the stuck ones, so the number of receivers is no longer known. Fill their
		// socket buffers, then measure.
		b.receivers = 0
		if _, err := b.run(ctx, 0, fillBytes/b.size); err != nil {
			return fmt.Errorf("with %d stuck: %w", stuck, err)
		}
		r, err := b.run(ctx, e.Plan.Time, 1)
		if err != nil {
			return fmt.Errorf("with %d stuck: %w", stuck, err)
		}
		large, err := e.rss()
		if err != nil {
			return err
		}
		e.costs(r)
		e.Sample.Set("before", healthy)
		e.Sample.Set("kept", float64(r.Messages)/r.Elapsed.Seconds()/healthy)
		e.Sample.Set("last", b.median().Seconds()*1e3)
		e.Sample.Set("last_before", lastBefore.Seconds()*1e3)
		e.Sample.Set("grown_mib", (large-small)/(1<<20))
		return e.latency(r)
	},
}

// ethernetMSS is the segment size that most connections of the Internet have. The kernel allots a sender's
// buffer by it (two windows of ten segments): 87 KiB here, 2.6 MiB with the segments of the loopback device.
const ethernetMSS = 1448

// fillBytes is more than the kernel takes for a connection that nobody reads: those 87 KiB and the receiver's
// default of 128.
const fillBytes = 256 << 10

// rss is the resident memory of the server, 0 where its process is not known.
func (e *Env) rss() (float64, error) {
	if e.Server.PID() == 0 {
		return 0, nil
	}
	n, err := proc.RSS(e.Server.PID())
	return float64(n), err
}
