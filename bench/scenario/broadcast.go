package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/proc"
)

var broadcast = Scenario{
	Name:  "broadcast",
	About: "a payload goes to every connection; the next follows when the last receiver has it",
	Metrics: []Metric{
		{"rate", "deliveries", "1/s", 0, 1},
		{"server_us", "server CPU", "µs", 2, -1},
		{"client_us", "client CPU", "µs", 2, 0},
		{"server_cores", "server", "cores", 2, 0},
		{"client_cores", "client", "cores", 2, 0},
		{"last", "to the last", "ms", 1, -1},
		{"p50", "p50", "µs", 0, -1},
		{"p99", "p99", "µs", 0, -1},
	},
	Run: func(ctx context.Context, e *Env) error {
		if _, err := e.dial(ctx, pushPath); err != nil {
			return err
		}
		b := broadcaster{e: e}
		if _, err := b.run(ctx, e.Plan.Warm); err != nil {
			return err
		}
		r, err := b.run(ctx, e.Plan.Time)
		if err != nil {
			return err
		}
		e.Sample.set("rate", float64(r.Messages)/r.Elapsed.Seconds())
		e.Sample.set("server_us", micros(r.Server, r.Messages))
		e.Sample.set("client_us", micros(r.Client, r.Messages))
		slices.Sort(b.last)
		e.Sample.set("last", b.last[len(b.last)/2].Seconds()*1e3)
		e.busy(r)
		return e.latency(r)
	},
}

// A broadcaster posts broadcasts one after another.
type broadcaster struct {
	e    *Env
	next uint32          // number of the next
	last []time.Duration // of each: from the post to the last receiver
}

// arrivalLimit is how long a broadcast may take: 10 s and 1 ms for each receiver.
func arrivalLimit(receivers int) time.Duration {
	return 10*time.Second + time.Duration(receivers)*time.Millisecond
}

// run posts broadcasts for d, at least one, and waits for all to have arrived.
func (b *broadcaster) run(ctx context.Context, d time.Duration) (r fleet.Result, err error) {
	e := b.e
	if err := e.Fleet.Receive(ctx, load.ReceivePlan{Broadcast: b.next, Size: e.Plan.Size}, e.Server.PID()); err != nil {
		return r, err
	}
	b.last = b.last[:0]
	meter, err := startMeter(e)
	if err != nil {
		return r, err
	}
	var arrivalErr error
	for start := load.Now(); len(b.last) == 0 || load.Now() < start+int64(d); {
		if arrivalErr = b.one(ctx); arrivalErr != nil {
			break
		}
	}
	server, client, busiest, elapsed, err := meter.stop()
	if err != nil {
		return r, err
	}
	r, err = e.Fleet.End(ctx, b.next)
	if err != nil {
		return r, err
	}
	r.Server, r.Client, r.Busiest, r.Elapsed = server, client, busiest, elapsed
	if err := e.Fleet.Faults().Err(); err != nil {
		return r, err
	}
	return r, arrivalErr
}

func (b *broadcaster) one(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, arrivalLimit(b.e.Plan.Connections))
	defer cancel()
	at := load.Now()
	payload := load.Message{Kind: load.KindBroadcast, Seq: b.next, At: at}.Append(nil, b.e.Plan.Size)
	b.next++
	receivers, err := b.e.Server.Broadcast(ctx, payload)
	if err != nil {
		return err
	}
	if receivers != b.e.Plan.Connections {
		return fmt.Errorf("the server names %d receivers of a broadcast to %d", receivers, b.e.Plan.Connections)
	}
	last, err := b.e.Fleet.Arrived(ctx, b.next-1)
	b.last = append(b.last, time.Duration(last-at))
	return err
}

// A meter measures CPU time from the parent.
type meter struct {
	e      *Env
	at     int64
	server time.Duration
	client []time.Duration
}

func startMeter(e *Env) (m *meter, err error) {
	m = &meter{e: e, at: load.Now()}
	m.server, m.client, err = m.read()
	return m, err
}

func (m *meter) read() (server time.Duration, client []time.Duration, err error) {
	if server, err = proc.CPU(m.e.Server.PID()); err != nil {
		return 0, nil, err
	}
	for _, pid := range m.e.Fleet.PIDs() {
		cpu, err := proc.CPU(pid)
		if err != nil {
			return 0, nil, err
		}
		client = append(client, cpu)
	}
	return server, client, nil
}

func (m *meter) stop() (server, client, busiest, elapsed time.Duration, err error) {
	elapsed = time.Duration(load.Now() - m.at)
	server, each, err := m.read()
	for i := range each {
		client += each[i] - m.client[i]
		busiest = max(busiest, each[i]-m.client[i])
	}
	return server - m.server, client, busiest, elapsed, err
}
