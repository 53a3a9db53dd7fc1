package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"fanfare/bench/proc"

	"github.com/coder/websocket"
)

// Cost is what pushes cost in a cluster of several nodes and one NATS server.
type Cost struct {
	Nodes     int     `json:"nodes"`
	Push      PerPush `json:"push"`      // to one user, on any node
	Broadcast PerPush `json:"broadcast"` // to one user on each node
	// Traffic of NATS per second without pushes.
	IdleMessages float64 `json:"idle_messages"`
	IdleBytes    float64 `json:"idle_bytes"`
}

// PerPush is the cost of one push.
type PerPush struct {
	CPU      time.Duration `json:"cpu_ns"`   // of all processes
	NATS     time.Duration `json:"nats_ns"`  // of that, NATS
	Messages float64       `json:"messages"` // that NATS received and sent
	Bytes    float64       `json:"bytes"`    // of those messages, without protocol
}

const (
	// costUsers are spread over the nodes, so that with n nodes one push in n is
	// made on the node of its user.
	costUsers = 64
	// costStreams at a time.
	costStreams = 4
)

// MeasureCost measures clusters of the given sizes, with live pushes of 128 bytes
// over HTTP through all nodes in turn.
func MeasureCost(ctx context.Context, programs Programs, nodes []int, pushes int, tell func(format string, args ...any)) (all []Cost, err error) {
	dir, err := tempDir()
	if err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	defer os.RemoveAll(dir)
	if programs, err = programs.Build(ctx, dir); err != nil {
		return nil, err
	}
	for _, n := range nodes {
		tell("%d nodes", n)
		sub, err := os.MkdirTemp(dir, "")
		if err != nil {
			return all, fmt.Errorf("fault: %w", err)
		}
		cost, err := measureCost(ctx, sub, programs, n, pushes)
		if err != nil {
			return all, err
		}
		all = append(all, cost)
	}
	return all, nil
}

func measureCost(ctx context.Context, dir string, programs Programs, nodes, pushes int) (cost Cost, err error) {
	c, err := newCluster(ctx, dir, shape{programs: programs, nats: 1, nodes: nodes})
	if err != nil {
		return cost, err
	}
	defer c.close()
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for u := range costUsers {
		cl := &client{device: newHistory().device(costUser(u), "", false)}
		conn, err := cl.connect(ctx, c.nodes[u%nodes])
		if err != nil {
			return cost, err
		}
		reading.Go(func() {
			defer conn.CloseNow()
			drain(ctx, conn)
		})
	}
	cost.Nodes = nodes
	pause := time.NewTimer(1500 * time.Millisecond) // until all nodes know each other
	select {
	case <-pause.C:
	case <-ctx.Done():
		return cost, ctx.Err()
	}
	const idle = 4 * time.Second
	m, err := c.meter()
	if err != nil {
		return cost, err
	}
	pause.Reset(idle)
	select {
	case <-pause.C:
	case <-ctx.Done():
		return cost, ctx.Err()
	}
	p, err := c.per(m, 1)
	if err != nil {
		return cost, err
	}
	cost.IdleMessages, cost.IdleBytes = p.Messages/idle.Seconds(), p.Bytes/idle.Seconds()

	payload := make([]byte, 128)
	for i := range payload {
		payload[i] = 'x'
	}
	if cost.Push, err = c.measure(ctx, cost, pushes, func(i int) (string, int) {
		return "/v1/users/" + costUser(i/nodes) + "/push", 1
	}, payload); err != nil {
		return cost, err
	}
	cost.Broadcast, err = c.measure(ctx, cost, pushes/4, func(int) (string, int) { return "/v1/broadcast", costUsers }, payload)
	return cost, err
}

func costUser(i int) string { return fmt.Sprintf("user%d", i%costUsers) }

// drain reads and discards messages until ctx ends.
func drain(ctx context.Context, conn *websocket.Conn) {
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			return
		}
	}
}

// measure measures pushes, without the traffic that is there without them.
func (c *cluster) measure(ctx context.Context, cost Cost, pushes int, to func(i int) (path string, receivers int), payload []byte) (PerPush, error) {
	run := func(pushes int) error {
		var all sync.WaitGroup
		errs := make(chan error, costStreams)
		for s := range costStreams {
			all.Go(func() {
				for i := s; i < pushes; i += costStreams {
					path, want := to(i)
					var answer stored
					if err := c.nodes[i%len(c.nodes)].call(ctx, "POST", path, payload, &answer); err != nil || answer.Receivers != want {
						errs <- fmt.Errorf("fault: %s: %d receivers, %w", path, answer.Receivers, err)
						return
					}
				}
			})
		}
		all.Wait()
		select {
		case err := <-errs:
			return err
		default:
			return nil
		}
	}
	if err := run(pushes / 10); err != nil { // warm
		return PerPush{}, err
	}
	m, err := c.meter()
	if err != nil {
		return PerPush{}, err
	}
	began := time.Now()
	if err := run(pushes); err != nil {
		return PerPush{}, err
	}
	took := time.Since(began).Seconds()
	p, err := c.per(m, pushes)
	p.Messages -= cost.IdleMessages * took / float64(pushes)
	p.Bytes -= cost.IdleBytes * took / float64(pushes)
	return p, err
}

// meter is the resources used so far.
type meter struct {
	nodes, nats     time.Duration
	messages, bytes float64
}

func (c *cluster) meter() (m meter, err error) {
	for _, n := range c.nodes {
		used, err := proc.CPU(n.pid())
		if err != nil {
			return m, err
		}
		m.nodes += used
	}
	for _, p := range c.nats {
		used, err := proc.CPU(p.pid())
		if err != nil {
			return m, err
		}
		m.nats += used
		var v struct {
			InMsgs   float64 `json:"in_msgs"`
			OutMsgs  float64 `json:"out_msgs"`
			InBytes  float64 `json:"in_bytes"`
			OutBytes float64 `json:"out_bytes"`
		}
		resp, err := http.Get(fmt.Sprintf("http://%s:%d/varz", p.at.ip, monitorPort))
		if err != nil {
			return m, err
		}
		err = json.NewDecoder(resp.Body).Decode(&v)
		resp.Body.Close()
		if err != nil {
			return m, err
		}
		m.messages += v.InMsgs + v.OutMsgs
		m.bytes += v.InBytes + v.OutBytes
	}
	return m, nil
}

// per returns the cost per push since before.
func (c *cluster) per(before meter, pushes int) (PerPush, error) {
	now, err := c.meter()
	each := float64(pushes)
	return PerPush{
		CPU:      time.Duration(float64(now.nodes+now.nats-before.nodes-before.nats) / each),
		NATS:     time.Duration(float64(now.nats-before.nats) / each),
		Messages: (now.messages - before.messages) / each,
		Bytes:    (now.bytes - before.bytes) / each,
	}, err
}

// WriteCosts writes the costs as a table.
func WriteCosts(w io.Writer, all []Cost) {
	fmt.Fprintf(w, "%5s | %27s | %27s | %s\n", "", "push to a user", "broadcast", "idle, a second")
	fmt.Fprintf(w, "%5s | %9s %5s %11s | %9s %5s %11s | %9s %8s\n", "nodes", "CPU, NATS", "msgs", "bytes", "CPU, NATS", "msgs", "bytes", "msgs", "bytes")
	for _, c := range all {
		row := func(p PerPush) string {
			return fmt.Sprintf("%4d %4d %5.1f %11.0f", p.CPU.Microseconds(), p.NATS.Microseconds(), p.Messages, p.Bytes)
		}
		fmt.Fprintf(w, "%5d | %s | %s | %9.0f %8.0f\n", c.Nodes, row(c.Push), row(c.Broadcast), c.IdleMessages, c.IdleBytes)
	}
}
