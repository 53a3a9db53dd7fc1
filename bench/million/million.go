package million

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"fanfare/bench/fleet"
	"fanfare/bench/load"
	"fanfare/bench/proc"
	"fanfare/bench/servers"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Config configures a run.
type Config struct {
	Connections int           `json:"connections"`
	Pushes      int           `json:"pushes"` // to random users
	Window      int           `json:"window"` // pending handshakes
	Ping        time.Duration `json:"ping"`   // the server's ping interval
	Stored      int           `json:"stored"` // every so many users have a durable message before they connect; 0: none has
	Server      string        `json:"server"` // its name in the catalog
	Fanfare     string        `json:"fanfare"`
	Self        string        `json:"self"`
}

// A Result is the result of a run.
type Result struct {
	Began       time.Time    `json:"began"`
	Took        float64      `json:"took"` // seconds, as are all times below
	Inside      string       `json:"inside,omitempty"`
	Machine     proc.Machine `json:"machine"`
	Server      string       `json:"server"`
	Connections int          `json:"connections"`
	Ping        float64      `json:"ping"`
	Stored      int          `json:"stored"` // messages that waited for users

	Connect    float64 `json:"connect"`
	RSS        int64   `json:"rss"` // bytes, with all connections
	RSSEach    float64 `json:"rss_each"`
	HeapEach   float64 `json:"heap_each"`
	SlabEach   float64 `json:"slab_each"` // of the kernel, for both ends
	Goroutines float64 `json:"goroutines"`

	Broadcast    float64 `json:"broadcast"` // from the post to the last receiver
	BroadcastCPU float64 `json:"broadcast_cpu"`
	BroadcastP50 float64 `json:"broadcast_p50"`
	Received     int     `json:"received"` // broadcast and pushes together
	Pushes       int     `json:"pushes"`
	PushP50      float64 `json:"push_p50"`
	PushP99      float64 `json:"push_p99"`
	Pings        int     `json:"pings"`     // answered by the clients
	RSSAfter     int64   `json:"rss_after"` // bytes, after all messages were received
	CPU          float64 `json:"cpu"`       // of the server, in all
}

// Run runs on this machine. It calls tell with its progress.
func Run(ctx context.Context, c Config, tell func(format string, args ...any)) (*Result, error) {
	specs, err := servers.Catalog{Fanfare: c.Fanfare, Self: c.Self}.Find([]string{c.Server})
	if err != nil {
		return nil, err
	}
	if p := specs[0].Product; p != nil && !p.Counts {
		return nil, fmt.Errorf("million: %s does not count its sessions; choose fanfare or a library", c.Server)
	}
	r := &Result{
		Began: time.Now(), Machine: proc.ThisMachine(), Server: c.Server, Connections: c.Connections, Pushes: c.Pushes, Ping: c.Ping.Seconds(),
		Inside: os.Getenv(insideEnv),
	}
	server, err := servers.Start(ctx, specs[0], c.Ping)
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	clients, err := fleet.Start(ctx, []string{c.Self, "load-worker"}, load.Config{Addr: server.Listen}, c.Connections)
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	m := &measuring{c: c, server: server, clients: clients, tell: tell, r: r}
	for _, step := range []func(context.Context) error{m.store, m.connect, m.broadcast, m.push, m.finish} {
		if err := step(ctx); err != nil {
			if server.Log() != "" {
				return nil, fmt.Errorf("%w\nthe server's log ends with: %s", err, server.Log())
			}
			return nil, err
		}
	}
	r.Took = time.Since(r.Began).Seconds()
	return r, nil
}

type measuring struct {
	c       Config
	server  *servers.Server
	clients *fleet.Fleet
	tell    func(format string, args ...any)
	r       *Result
	next    map[uint32]uint32 // number of the next push to a user; absent: 0
}

// perConnection is the time limit of a step per connection: fifty times what it takes on one core in 2025, because
// user-mode Linux is slow.
const perConnection = time.Millisecond

// store pushes a durable message to every Config.Stored-th user before any of them connects.
func (m *measuring) store(ctx context.Context) error {
	m.next = make(map[uint32]uint32)
	if m.c.Stored == 0 {
		return nil
	}
	for user := uint32(0); user < uint32(m.c.Connections); user += uint32(m.c.Stored) {
		body := load.Message{Kind: load.KindUser, Target: user, At: load.Now()}.Append(nil, payload)
		if _, err := m.server.PushStored(ctx, load.UserName(user), true, body); err != nil {
			return err
		}
		m.next[user] = 1
	}
	m.r.Stored = len(m.next)
	m.tell("%d messages wait for their users", m.r.Stored)
	return nil
}

func (m *measuring) connect(ctx context.Context) error {
	n := m.c.Connections
	rss, err := proc.RSS(m.server.PID())
	if err != nil {
		return err
	}
	stats, err := m.server.Stats(ctx)
	if err != nil {
		return err
	}
	kernel, err := proc.KernelMemory()
	if err != nil {
		return err
	}
	limit := time.Minute + time.Duration(n)*2*perConnection
	plan := load.DialPlan{Window: m.c.Window, Path: m.server.Path("/ws?user={user}", false), Limit: limit}
	if plan.Tokens, err = m.server.Tokens(load.UserNames(0, n)); err != nil {
		return err
	}
	if m.c.Stored > 0 {
		plan.Unread, plan.Every = 1, m.c.Stored
	}
	watch, done := context.WithCancel(ctx)
	go m.watch(watch)
	d, err := m.clients.Dial(ctx, plan, m.server.PID())
	done()
	if err != nil {
		return err
	}
	if err := m.clients.Faults().Err(); err != nil {
		return err
	}
	m.r.Connect = d.Elapsed.Seconds()
	m.tell("%d connections after %.0f s", d.Messages, m.r.Connect)
	// Give the server time to collect the garbage of the handshakes.
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	now, err := m.server.Stats(ctx)
	if err != nil {
		return err
	}
	if int(now["sessions"]) != n {
		return fmt.Errorf("the server counts %v sessions", now["sessions"])
	}
	if users, ok := now["users"]; ok && int(users) != n {
		return fmt.Errorf("the server counts %v users", users)
	}
	if m.r.RSS, err = proc.RSS(m.server.PID()); err != nil {
		return err
	}
	full, err := proc.KernelMemory()
	if err != nil {
		return err
	}
	m.r.RSSEach = float64(m.r.RSS-rss) / float64(n)
	m.r.HeapEach = (now["heap_inuse_bytes"] - stats["heap_inuse_bytes"]) / float64(n)
	m.r.SlabEach = float64(full.Slab-kernel.Slab) / float64(n)
	m.r.Goroutines = now["goroutines"]
	m.tell("%.0f bytes of RSS each, %.0f MiB in all, %v goroutines", m.r.RSSEach, float64(m.r.RSS)/(1<<20), m.r.Goroutines)
	return nil
}

// watch reports the progress of the handshakes.
func (m *measuring) watch(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if stats, err := m.server.Stats(ctx); err == nil && ctx.Err() == nil {
				m.tell("%.0f of %d connections", stats["sessions"], m.c.Connections)
			}
		case <-ctx.Done():
			return
		}
	}
}

const payload = 128

func (m *measuring) broadcast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(m.c.Connections)*perConnection)
	defer cancel()
	if err := m.clients.Receive(ctx, load.ReceivePlan{Size: payload}); err != nil {
		return err
	}
	before, err := proc.CPU(m.server.PID())
	if err != nil {
		return err
	}
	m.tell("one broadcast to all connections")
	at := load.Now()
	n, err := m.server.Broadcast(ctx, load.Message{Kind: load.KindBroadcast, At: at}.Append(nil, payload))
	if err != nil {
		return err
	}
	if n != m.c.Connections {
		return fmt.Errorf("the server names %d receivers of a broadcast", n)
	}
	last, err := m.clients.Arrived(ctx, 0)
	if err != nil {
		return m.blame(ctx, err)
	}
	after, err := proc.CPU(m.server.PID())
	if err != nil {
		return err
	}
	r, err := m.clients.End(ctx, 1)
	if err != nil {
		return err
	}
	m.r.Received += r.Received
	m.r.Pings += r.Pings
	m.r.Broadcast = time.Duration(last - at).Seconds()
	m.r.BroadcastCPU = (after - before).Seconds()
	m.r.BroadcastP50 = seconds(r.Latency, 50)
	m.tell("received by all after %.1f s", m.r.Broadcast)
	return m.clients.Faults().Err()
}

// blame returns the faults of the clients if there are any, or else the error of the wait.
func (m *measuring) blame(ctx context.Context, err error) error {
	if _, endErr := m.clients.End(context.WithoutCancel(ctx), 1); endErr != nil {
		return err
	}
	if faults := m.clients.Faults().Err(); faults != nil {
		return fmt.Errorf("%w: %w", err, faults)
	}
	return err
}

func (m *measuring) push(ctx context.Context) error {
	m.tell("%d pushes to random users", m.c.Pushes)
	if err := m.clients.Receive(ctx, load.ReceivePlan{Broadcast: 1, Size: payload}); err != nil {
		return err
	}
	for range m.c.Pushes {
		user := rand.Uint32N(uint32(m.c.Connections))
		body := load.Message{Kind: load.KindUser, Target: user, Seq: m.next[user], At: load.Now()}.Append(nil, payload)
		m.next[user]++
		n, err := m.server.PushUser(ctx, load.UserName(user), body)
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("the server names %d receivers of a push to one user", n)
		}
	}
	if err := m.clients.Await(ctx, m.c.Pushes, time.Minute); err != nil {
		return m.blame(ctx, err)
	}
	r, err := m.clients.End(ctx, 1)
	if err != nil {
		return err
	}
	if r.Received != m.c.Pushes {
		return fmt.Errorf("%d pushes received of %d", r.Received, m.c.Pushes)
	}
	m.r.Received += r.Received
	m.r.Pings += r.Pings
	m.r.PushP50, m.r.PushP99 = seconds(r.Latency, 50), seconds(r.Latency, 99)
	return m.clients.Faults().Err()
}

// finish checks that all connections are still open.
func (m *measuring) finish(ctx context.Context) error {
	pings, err := m.clients.Check(ctx)
	if err != nil {
		return err
	}
	m.r.Pings += pings
	stats, err := m.server.Stats(ctx)
	if err != nil {
		return err
	}
	if int(stats["sessions"]) != m.c.Connections {
		return fmt.Errorf("at the end the server counts %v sessions", stats["sessions"])
	}
	if m.r.RSSAfter, err = proc.RSS(m.server.PID()); err != nil {
		return err
	}
	cpu, err := proc.CPU(m.server.PID())
	m.r.CPU = cpu.Seconds()
	m.tell("all there, nothing lost")
	return err
}

func seconds(h *hdrhistogram.Histogram, q float64) float64 {
	if h == nil {
		return 0
	}
	return float64(h.ValueAtQuantile(q)) / 1e9
}
