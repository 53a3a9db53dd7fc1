package attack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/servers"
)

// The healthy are clients that nobody should disturb: each has a connection that echoes and one that is
// pushed to, once a second.
type healthy struct {
	server     *servers.Server
	clients    int
	echo, push *fleet.Fleet
	next       []uint32 // number of the next push, by user

	mu         sync.Mutex
	broadcasts uint32 // made so far. guarded by mu
}

// size of echoes and pushes in bytes.
const size = 128

// grace is how long the last messages may be under way.
const grace = 10 * time.Second

func startHealthy(ctx context.Context, s *servers.Server, worker []string, clients int) (h *healthy, err error) {
	h = &healthy{server: s, clients: clients, next: make([]uint32, clients)}
	for i, f := range []struct {
		fleet **fleet.Fleet
		path  string
	}{{&h.echo, "/echo"}, {&h.push, "/ws?user={user}"}} {
		if *f.fleet, err = fleet.Start(ctx, worker, load.Config{Addr: s.Listen, Number: i}, clients); err != nil {
			break
		}
		plan := load.DialPlan{Window: 50, Path: f.path, Limit: grace}
		if _, err = (*f.fleet).Dial(ctx, plan, s.PID()); err == nil {
			err = (*f.fleet).Faults().Err()
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		h.close()
	}
	return h, err
}

func (h *healthy) close() {
	for _, f := range []*fleet.Fleet{h.echo, h.push} {
		if f != nil {
			f.Close()
		}
	}
}

// second lets the clients work for a second, or less, with beside going on. What is wrong with the messages is
// an error.
func (h *healthy) second(ctx context.Context, d time.Duration, beside func(ctx context.Context)) (s second, err error) {
	began := h.made()
	if err := h.push.Receive(ctx, load.ReceivePlan{Broadcast: began, Users: true}); err != nil {
		return s, err
	}
	echoes := make(chan error, 1)
	go func() {
		r, err := h.echo.Pace(ctx, load.PacePlan{Rate: h.clients, Size: size, Time: d, Grace: grace}, h.server.PID())
		s.echo = r.Latency
		echoes <- err
	}()
	besideCtx, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { beside(besideCtx) })
	others.Go(func() { s.machine = machine(besideCtx) })
	pushed, pushErr := h.pushFor(ctx, d)
	stop()
	others.Wait()
	if pushErr == nil {
		pushErr = h.push.Await(ctx, pushed+int(h.made()-began)*h.clients, grace)
	}
	echoErr := <-echoes
	// The clients are asked even if something failed: what they saw says more.
	r, err := h.push.End(context.WithoutCancel(ctx), h.made())
	s.push = r.Latency
	return s, errors.Join(pushErr, echoErr, err, h.faults().Err())
}

// faults of both kinds of connections.
func (h *healthy) faults() *load.Faults {
	var f load.Faults
	f.Add(*h.echo.Faults())
	f.Add(*h.push.Faults())
	return &f
}

// posters is how many pushes may be under way at once. The pushes to one user are posted by one goroutine,
// one after another, so that they have an order.
const posters = 8

// pushFor pushes to each client once a second, and returns how many pushes that was.
func (h *healthy) pushFor(ctx context.Context, d time.Duration) (pushed int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	gap := int64(time.Second) / int64(h.clients)
	start := load.Now()
	var all sync.WaitGroup
	counts := make([]int, posters)
	for p := range posters {
		all.Go(func() {
			for i := p; ctx.Err() == nil; i += posters {
				due := start + int64(i)*gap
				if due >= start+int64(d) {
					return
				}
				time.Sleep(time.Duration(due - load.Now()))
				if err := h.pushTo(ctx, uint32(i%h.clients), due); err != nil {
					cancel(err)
					return
				}
				counts[p]++
			}
		})
	}
	all.Wait()
	for _, n := range counts {
		pushed += n
	}
	return pushed, context.Cause(ctx)
}

func (h *healthy) pushTo(ctx context.Context, user uint32, due int64) error {
	m := load.Message{Kind: load.KindUser, Target: user, Seq: h.next[user], At: load.Stamp(due)}
	h.next[user]++
	n, err := h.server.PushUser(ctx, load.UserName(user), m.Append(nil, size))
	if err == nil && n != 1 {
		err = fmt.Errorf("a push to %s reached %d connections, not 1", load.UserName(user), n)
	}
	return err
}

// broadcast sends one message to everybody.
func (h *healthy) broadcast(ctx context.Context, size int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := load.Message{Kind: load.KindBroadcast, Seq: h.broadcasts, At: load.Now()}
	_, err := h.server.Broadcast(ctx, m.Append(nil, size))
	if err == nil {
		h.broadcasts++
	}
	return err
}

func (h *healthy) made() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broadcasts
}
