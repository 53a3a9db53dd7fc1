package scenario

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fanfare/bench/load"
	"fanfare/bench/servers"
)

var (
	login1   = login(1)
	login10  = login(10)
	login100 = login(100)
)

// login returns a scenario in which users with stored messages connect. The latency of a login ends with the last message.
func login(unread int) Scenario {
	return Scenario{
		Name:    fmt.Sprintf("login-%d", unread),
		About:   fmt.Sprintf("every user connects, with %d unread messages", unread),
		Own:     true,
		Needs:   "store",
		Payload: true,
		Metrics: []Metric{{"server_us", "server CPU per login", "µs", 2, -1}, {"rate", "logins", "1/s", 0, 1}, {"messages", "messages", "1/s", 0, 1},
			clientCPU, serverCores, clientCores, p50, p99},
		Run: func(ctx context.Context, e *Env) error {
			if err := e.store(ctx, unread); err != nil {
				return err
			}
			return e.login(ctx, unread)
		},
	}
}

// store stores messages for every user, as fast as batches allow.
func (e *Env) store(ctx context.Context, each int) error {
	var batch []servers.Push
	for seq := range each {
		for user := range e.Case.Connections {
			batch = append(batch, e.unread(user, seq))
			if len(batch) == 1000 || seq == each-1 && user == e.Case.Connections-1 {
				if err := e.Server.StoreBatch(ctx, batch); err != nil {
					return err
				}
				batch = batch[:0]
			}
		}
	}
	return nil
}

func (e *Env) unread(user, seq int) servers.Push {
	m := load.Message{Kind: load.KindUser, Target: uint32(user), Seq: uint32(seq), At: load.Now()}
	return servers.Push{User: load.UserName(m.Target), Body: m.Append(nil, e.Case.Size)}
}

// login connects every user, and waits until each has received its stored messages.
func (e *Env) login(ctx context.Context, unread int) error {
	r, err := e.dialWith(ctx, e.Fleet, e.Case.Connections, load.DialPlan{Path: pushPath, Unread: unread})
	if err != nil {
		return err
	}
	if want := e.Case.Connections * unread; r.Received != want {
		return fmt.Errorf("%d stored messages were received, expected %d", r.Received, want)
	}
	e.costs(r)
	e.Sample.Set("messages", float64(r.Received)/r.Elapsed.Seconds())
	return e.latency(r)
}

// durable pushes to absent users, who then return.
var durable = Scenario{
	Name:    "durable",
	About:   "16 callers push a durable message to every user while none is connected; then all connect and receive it",
	Own:     true,
	Needs:   "store",
	Payload: true,
	Metrics: []Metric{{"push_us", "server CPU per push", "µs", 2, -1}, {"pushes", "pushes", "1/s", 0, 1},
		{"server_us", "server CPU per return", "µs", 2, -1}, {"rate", "returns", "1/s", 0, 1}, clientCPU, serverCores, clientCores, p50, p99},
	Run: func(ctx context.Context, e *Env) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		meter, err := startMeter(e)
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		const callers = 16
		for caller := range callers {
			all.Go(func() {
				for user := caller; user < e.Case.Connections && ctx.Err() == nil; user += callers {
					p := e.unread(user, 0)
					if err := e.Server.Store(ctx, p.User, p.Body); err != nil {
						cancel(err)
					}
				}
			})
		}
		all.Wait()
		if err := context.Cause(ctx); err != nil {
			return err
		}
		times, err := meter.stop()
		if err != nil {
			return err
		}
		if err := e.login(ctx, 1); err != nil {
			return err
		}
		n := float64(e.Case.Connections)
		e.Sample.Set("push_us", float64(times.Server)/float64(time.Microsecond)/n)
		e.Sample.Set("pushes", n/times.Elapsed.Seconds())
		return nil
	},
}
