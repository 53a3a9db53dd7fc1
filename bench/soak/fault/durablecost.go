package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"fanfare/bench/proc"
	"fanfare/bench/servers"

	"github.com/coder/websocket"
)

// DurableCost is what a push to one user costs a single server, over HTTP.
type DurableCost struct {
	Callers int  // 0: one, who pushes batches of batchLines
	Online  bool // the user has a session, which answers pings
	Durable bool
	CPU     time.Duration // of the server, the median of the rounds
	Rate    float64       // pushes per second, the median of the rounds
}

// batchLines is the number of pushes in a request of a batch.
const batchLines = 100

// MeasureDurableCost measures pushes of 128 bytes, live and durable, to users who are online
// and to users who are not, by so many callers at a time, and in batches. The cases take turns in each round.
func MeasureDurableCost(ctx context.Context, fanfare string, callers []int, users, pushes, rounds int, tell func(format string, args ...any)) ([]DurableCost, error) {
	dir, err := tempDir()
	if err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	defer os.RemoveAll(dir)
	if fanfare == "" {
		fanfare = filepath.Join(dir, "fanfare")
		if err := servers.Build(ctx, fanfare); err != nil {
			return nil, err
		}
	}
	srv, err := servers.Start(ctx, servers.Spec{Name: "fanfare", Args: func(a servers.Addresses, _ time.Duration) []string {
		return []string{fanfare, "serve", "--listen", a.Listen, "--api", a.API, "--data-dir", filepath.Join(dir, "data"), "--log-level", "warn"}
	}, Product: &servers.Product{Backend: servers.FanfareBackend}}, servers.PingInterval)
	if err != nil {
		return nil, err
	}
	defer srv.Stop()
	var all []DurableCost
	for _, callers := range append(slices.Clone(callers), 0) {
		for _, online := range []bool{true, false} {
			all = append(all, DurableCost{Callers: callers, Online: online}, DurableCost{Callers: callers, Online: online, Durable: true})
		}
	}
	cpu, rates := make([][]time.Duration, len(all)), make([][]float64, len(all))
	for round := range rounds {
		tell("round %d", round+1)
		for i, c := range all {
			used, rate, err := c.measure(ctx, srv, users, pushes)
			if err != nil {
				return nil, err
			}
			cpu[i], rates[i] = append(cpu[i], used), append(rates[i], rate)
		}
	}
	for i := range all {
		slices.Sort(cpu[i])
		slices.Sort(rates[i])
		all[i].CPU, all[i].Rate = cpu[i][rounds/2], rates[i][rounds/2]
	}
	return all, nil
}

// measure pushes to users in turn, whose sessions have just been opened.
func (c *DurableCost) measure(ctx context.Context, srv *servers.Server, users, pushes int) (cpu time.Duration, rate float64, err error) {
	name, want := "absent", 0
	if c.Online {
		name, want = "online", 1
		online, cancel := context.WithCancel(ctx)
		var reading sync.WaitGroup
		defer reading.Wait()
		defer cancel()
		for u := range users {
			conn, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/ws?user=online%d", srv.Listen, u), nil)
			if err != nil {
				return 0, 0, fmt.Errorf("fault: %w", err)
			}
			reading.Go(func() {
				defer conn.CloseNow()
				drain(online, conn)
			})
		}
		if err := pause(ctx); err != nil { // until the server has looked for unread messages
			return 0, 0, err
		}
	}
	payload := []byte(`"` + strings.Repeat("x", 126) + `"`) // JSON, as batches have it
	user := func(i int) string { return fmt.Sprint(name, i%users) }
	before, err := proc.CPU(srv.PID())
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if c.Callers == 0 {
		err = c.pushBatches(ctx, srv, user, payload, pushes)
	} else {
		err = c.pushOneByOne(ctx, srv, user, payload, pushes, want)
	}
	took := time.Since(began)
	if err != nil {
		return 0, 0, err
	}
	if c.Durable && c.Online { // acknowledgements are stored a moment later
		if err := pause(ctx); err != nil {
			return 0, 0, err
		}
	}
	after, err := proc.CPU(srv.PID())
	return (after - before) / time.Duration(pushes), float64(pushes) / took.Seconds(), err
}

// pushOneByOne pushes by c.Callers at a time, who wait for each answer.
func (c *DurableCost) pushOneByOne(ctx context.Context, srv *servers.Server, user func(i int) string, payload []byte, pushes, want int) error {
	var all sync.WaitGroup
	errs := make([]error, c.Callers)
	for s := range c.Callers {
		all.Go(func() {
			for i := s; i < pushes && errs[s] == nil; i += c.Callers {
				var receivers int
				receivers, errs[s] = srv.PushStored(ctx, user(i), c.Durable, payload)
				if errs[s] == nil && receivers != want {
					errs[s] = fmt.Errorf("fault: a push has %d receivers, want %d", receivers, want)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// pushBatches pushes in batches, one after another.
func (c *DurableCost) pushBatches(ctx context.Context, srv *servers.Server, user func(i int) string, payload []byte, pushes int) error {
	push := srv.PushBatch
	if c.Durable {
		push = srv.StoreBatch
	}
	for i := 0; i < pushes; i += batchLines {
		lines := make([]servers.Push, min(batchLines, pushes-i))
		for j := range lines {
			lines[j] = servers.Push{User: user(i + j), Body: payload}
		}
		if err := push(ctx, lines); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(500 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WriteDurableCosts writes the costs as a table.
func WriteDurableCosts(w io.Writer, all []DurableCost) {
	fmt.Fprintf(w, "%7s  %-6s  %14s  %14s  %5s\n", "callers", "user", "live: µs, 1/s", "durable", "ratio")
	for i := 0; i+1 < len(all); i += 2 {
		live, durable := all[i], all[i+1]
		user, callers := "absent", fmt.Sprint(live.Callers)
		if live.Online {
			user = "online"
		}
		if live.Callers == 0 {
			callers = "batch"
		}
		fmt.Fprintf(w, "%7s  %-6s  %5d %8.0f  %5d %8.0f  %5.2f\n", callers, user, live.CPU.Microseconds(), live.Rate,
			durable.CPU.Microseconds(), durable.Rate, float64(durable.CPU)/float64(live.CPU))
	}
}
