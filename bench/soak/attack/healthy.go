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

// healthy are the clients that an attack must not harm. Each has two connections: one for an echo and one for a push
// a second.
type healthy struct {
	server     *servers.Server
	clients    int
	echo, push *fleet.Fleet
	next       []uint32 // number of the next push to each user

	mu         sync.Mutex
	broadcasts uint32 // sent so far. guarded by mu
}

// size of echoes and pushes, in bytes.
const size = 128

// grace is how late a message may be before it counts as lost.
const grace = 10 * time.Second

// startHealthy connects clients to a server. Load clients whose numbers differ have different addresses. api is how many connections to the API there are.
func startHealthy(ctx context.Context, s *servers.Server, worker []string, clients, number, api int) (h *healthy, err error) {
	h = &healthy{server: s, clients: clients, next: make([]uint32, clients)}
	for i, f := range []struct {
		fleet **fleet.Fleet
		path  string
	}{{&h.echo, "/echo"}, {&h.push, "/ws?user={user}"}} {
		if *f.fleet, err = fleet.Start(ctx, worker, load.Config{Addr: s.Listen, Number: number + i}, clients); err != nil {
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
	if err == nil {
		err = s.Connect(ctx, api) // for pushes, broadcasts and statistics
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

// second runs the clients for a second, or for d if that is shorter, with load besides. It returns an error if a
// message is lost, late by grace, duplicated, reordered or changed, or a connection is lost.
func (h *healthy) second(ctx context.Context, d time.Duration, besides func(ctx context.Context)) (s Healthy, err error) {
	before := h.sent()
	if err := h.push.Receive(ctx, load.ReceivePlan{Broadcast: before, Users: true}); err != nil {
		return s, err
	}
	echoes := make(chan error, 1)
	go func() {
		r, err := h.echo.Pace(ctx, load.PacePlan{Rate: h.clients, Size: size, Time: d, Grace: grace}, h.server.PID())
		s.Echo = latencies(r.Latency)
		echoes <- err
	}()
	loadCtx, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { besides(loadCtx) })
	pushed, pushErr := h.pushFor(ctx, d)
	stop()
	others.Wait()
	if pushErr == nil {
		pushErr = h.push.Await(ctx, pushed+int(h.sent()-before)*h.clients, grace)
	}
	echoErr := <-echoes
	// The clients report even after a failure: what they received says more than the error.
	r, err := h.push.End(context.WithoutCancel(ctx), h.sent())
	s.Push = latencies(r.Latency)
	return s, errors.Join(pushErr, echoErr, err, h.faults().Err())
}

// faults returns the faults of all connections.
func (h *healthy) faults() *load.Faults {
	var f load.Faults
	f.Add(*h.echo.Faults())
	f.Add(*h.push.Faults())
	return &f
}

// posters is how many pushes may be pending at once. One goroutine posts all pushes to a user, so that they have an
// order.
const posters = 10

// pushFor pushes to each client once a second, and returns the number of pushes.
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

// broadcast sends one message to all clients.
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

// sent is the number of broadcasts so far.
func (h *healthy) sent() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broadcasts
}
