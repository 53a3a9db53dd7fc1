package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/allnodes"
	"fanfare/server/internal/fallback"
	"fanfare/server/internal/gate"
	"fanfare/server/internal/guard"
	"fanfare/server/internal/handover"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/history"
	"fanfare/server/internal/interest"
	"fanfare/server/internal/lane"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/pace"
	"fanfare/server/internal/receipt"
	"fanfare/server/internal/rejectlog"
	"fanfare/server/internal/replay"
	"fanfare/server/internal/roster"
	"fanfare/server/internal/secure"
	"fanfare/server/internal/trace"
	"fanfare/server/listen"
	"fanfare/server/stats"
	"fanfare/server/store"
)

// Server owns a public listener, connections, sessions and timers.
type Server struct {
	// Immutable after New.
	cfg       Config // as New filled it in; see live for the fields that Reconfigure changes
	log       *slog.Logger
	engine    *netpoll.Engine
	users     *registry.Registry[*Session]
	wheel     *registry.Wheel[*Session]
	appTimers *registry.Wheel[*extension]
	endpoints map[string]*endpoint
	patterns  bool      // one of their paths ends with "/*"
	unrouted  *endpoint // of connections whose request has not been read
	started   time.Time
	now       func() time.Duration // the server's clock: time since started
	wall      func() time.Time     // the time of day, for Date fields and for deadlines of the kernel
	random    func(n int64) int64  // from 0 to n-1
	timing    handover.Timing      // of HandOver
	fallback  *fallback.Server     // requests on the public listener that are not handshakes
	store     store.Store          // Config.Store, guarded; nil: none
	cluster   Cluster              // Config.Cluster, guarded; nil: none
	replay    *replay.Service      // nil: no store
	history   *history.Service     // nil: no store
	tls       tlsService           // nil: no TLS
	events    *events              // nil: no Config.Observer
	members   *roster.Members      // nil: no Config.PresenceTopics
	keeping   *Keeping             // nil: Keep was not called; immutable once there are connections

	// Atomic, and rarely written.
	current atomic.Pointer[Config] // cfg, with what Reconfigure has changed; a Config in it is immutable

	// Atomic.
	tick          atomic.Uint32 // ticks since started; never 0
	resumed       atomic.Uint32 // tick at which the process ran again after it was stopped; 0: it was not
	sessions      atomic.Int64  // open
	connections   atomic.Int64  // including those in their handshake
	status        atomic.Uint32
	ending        atomic.Bool // Shutdown was called
	handing       atomic.Bool // HandOver is in progress, or has succeeded
	stats         stats.Counters
	memory        limit.Memory
	sources       *limit.Sources
	handshakeGate limit.Gate  // of all handshakes
	localOnly     atomic.Bool // see handshake.RejectHost
	rejectLog     *rejectlog.Log
	identifiers   *limit.Pool
	identifying   bySession[*identification]
	tickets       bySession[string]     // of sessions that were not sent hello yet
	publishing    *lane.Lanes[*Session] // what clients publish
	responding    *lane.Lanes[*Session] // what Responders answer

	background sync.WaitGroup
	quit       context.Context // done when the background goroutines are to end
	stop       func()
	ended      chan struct{} // closed at the end of Shutdown
	timers     chan time.Duration

	interest *interest.Topics // nil: no cluster
	mounts   sync.Map         // endpoints of Mounts, by path; see findEndpoint
	gate     *gate.Gate       // to store, if there is one

	// moving is held for reading by whatever concerns sessions of both processes of a
	// handover, and for writing while sessions move. It comes before all other locks.
	moving sync.RWMutex
	peer   peer // the other process; nil for most of a Server's life. guarded by moving

	nodes    *allnodes.Nodes // all nodes of the cluster, or this one alone
	paced    *pace.Table
	traces   *trace.Table
	receipts *receipt.Book
	rated    *ratedTable
	stepping atomic.Bool // a goroutine runs sendRated

	changing sync.Mutex // held by Reconfigure, around mu

	mu     sync.Mutex
	public net.Addr // guarded by mu
}

// endpoint is an Endpoint in use.
type endpoint struct {
	Endpoint // Rate is the one at first; see rate
	srv      *Server
	raw      [dialectMask + 1]bool // isRaw of each dialect
	// mediaType is that of its Streams, empty if it has none.
	mediaType string
	rate      atomic.Pointer[Rate] // in force; nil of Server.unrouted
}

// newEndpoint returns an Endpoint that was validated, for use.
func newEndpoint(ep Endpoint, srv *Server) *endpoint {
	e := &endpoint{Endpoint: ep, srv: srv, mediaType: ep.media()}
	e.rate.Store(&ep.Rate)
	for i, d := range ep.Dialects {
		e.raw[i] = isRaw(d)
	}
	return e
}

const (
	starting = uint32(Starting)
	serving  = uint32(Serving)
	leaving  = uint32(Leaving)
	draining = uint32(Draining)
	stopped  = uint32(Stopped)
)

// New returns a server and starts its timers; it listens after Start or Serve.
// Shutdown must be called to end it.
func New(cfg Config) (*Server, error) {
	srv, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	srv.background.Go((&clock{srv: srv}).run)
	return srv, nil
}

// newServer is New without the goroutine of the clock.
func newServer(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	engine, err := netpoll.New(netpoll.Config{
		Transport:      cfg.Transport,
		Workers:        cfg.Workers,
		QueueBytes:     cfg.QueueBytes,
		Logger:         cfg.Logger,
		RejectResponse: rejectResponse(&cfg),
	})
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	d := limit.Divide(cfg.OtherDescriptors)
	warnAboutDescriptors(&cfg, d)
	cfg.MaxConnections = withinDescriptors(cfg.MaxConnections, d)
	srv := &Server{
		cfg:       cfg,
		log:       cfg.Logger,
		engine:    engine,
		sources:   limit.NewSources(),
		users:     registry.New(entryOf, cfg.limits()),
		wheel:     registry.NewWheel(timerOf, tick, wheelSlots),
		appTimers: registry.NewWheel(appTimerOf, tick, wheelSlots),
		endpoints: make(map[string]*endpoint),
		started:   cfg.Started,
		ended:     make(chan struct{}),
		timers:    make(chan time.Duration),
		random:    rand.Int64N,
		timing:    handover.DefaultTiming,
	}
	srv.current.Store(&cfg)
	srv.rejectLog = rejectlog.New(cfg.Logger)
	srv.identifiers = limit.NewPool(cfg.Identifiers, srv.background.Go)
	srv.publishing = srv.newLanes(publishers, publishesWaiting, publishBytes)
	srv.responding = srv.newLanes(cfg.Responders, cfg.ResponderQueue, requestBytes)
	srv.quit, srv.stop = context.WithCancel(context.Background())
	srv.now = func() time.Duration { return time.Since(srv.started) }
	srv.wall = time.Now
	srv.tick.Store(max(uint32(srv.now()/tick), 1))
	srv.unrouted = &endpoint{srv: srv}
	for _, ep := range cfg.Endpoints {
		srv.endpoints[ep.Path] = newEndpoint(ep, srv)
		srv.patterns = srv.patterns || strings.HasSuffix(ep.Path, "/*")
	}
	if cfg.TLS != nil {
		srv.tls = cfg.TLS.start(secure.Config{TLS: cfg.TLS.config, Memory: &srv.memory, Tick: srv.tick.Load, Start: srv.background.Go, Failed: srv.tlsFailed})
	}
	srv.receipts = receipt.NewBook()
	srv.rated = newRated(srv)
	srv.paced = pace.NewTable(pace.Config{Now: func() time.Duration { return srv.now() }, Go: srv.background.Go, Ended: srv.pacedEnded})
	srv.traces = trace.NewTable()
	srv.fallback = fallback.New(srv.quit, http.HandlerFunc(srv.servePlain), cfg.MaxHeader, cfg.Logger)
	srv.background.Go(srv.fallback.Run)
	if list := cfg.Revocations; list != nil {
		list.OnChange(func() { srv.closeRevoked("") })
	}
	srv.events = newEvents(srv, cfg.Observer)
	if cfg.Cluster != nil {
		srv.cluster = guard.Cluster(cfg.Cluster, func(where string, v any) { srv.panicked(where, v) })
		srv.interest = interest.NewTopics(srv.cluster, srv.users.TopicSessions)
	}
	srv.nodes = allnodes.New(allnodes.Config{Process: &process{srv}, Cluster: srv.cluster, Logger: srv.log})
	srv.members = newMembers(srv)
	if cfg.Store != nil {
		srv.store = guard.Store(cfg.Store, func(where string, v any) { srv.panicked(where, v) })
		srv.replay = newReplay(srv)
		srv.history = newHistory(srv)
		srv.store.OnRecover(srv.recheckStored) // in place of what replay has set
		srv.replay.Start()
	}
	srv.gate = gate.New(srv.store)
	if srv.cluster != nil {
		if err := srv.cluster.Join(member{srv}); err != nil {
			if srv.replay != nil {
				srv.replay.Stop()
			}
			srv.stop()
			srv.background.Wait()
			engine.Close()
			return nil, err
		}
		srv.background.Go(func() { srv.interest.Run(srv.quit) })
	}
	srv.background.Go(srv.runTimers)
	return srv, nil
}

// rejectResponse is sent to a connection that is not accepted. Where TLS is expected it is
// an alert, internal_error, RFC 8446 section 6.2.
func rejectResponse(cfg *Config) []byte {
	if cfg.TLS != nil {
		return []byte{21, 3, 3, 0, 2, 2, 80}
	}
	return handshake.ErrFull.AppendResponse(nil, time.Time{}) // has no Date
}

// wheelSlots: one revolution of 51.2 s is longer than the default heartbeat, so
// that a timer is looked at once, when it is due.
const wheelSlots = 512

// Start opens the listener that Config.Listen names, if any, and serves it.
func (srv *Server) Start() error {
	if srv.cfg.Listen == "" {
		srv.status.CompareAndSwap(starting, serving)
		return nil
	}
	ln, err := listen.Open(srv.cfg.Listen)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return srv.Serve(ln)
}

// Serve serves a listener, which the Server closes on Shutdown, and returns at
// once. It takes the place of Config.Listen, and is called once.
func (srv *Server) Serve(ln net.Listener) error {
	srv.mu.Lock()
	srv.public = ln.Addr()
	srv.mu.Unlock()
	srv.setLocalOnly()
	if srv.tls != nil && !srv.engine.WatchesListener(ln) {
		ln = srv.tls.Listener(srv.proxied(ln))
	}
	if err := srv.engine.Listen(ln, srv.accept); err != nil {
		ln.Close()
		return fmt.Errorf("server: listen: %w", err)
	}
	srv.status.CompareAndSwap(starting, serving)
	return nil
}

// setLocalOnly decides whether handshake.RejectHost is needed, once the listener is known.
func (srv *Server) setLocalOnly() {
	addr := srv.Addr()
	srv.localOnly.Store(addr != nil && srv.trustsClients() && listen.IsLoopback(addr.String()) && addr.Network() == "tcp")
}

// trustsClients reports whether an endpoint lets clients choose their user, and clients
// reach it without a proxy.
func (srv *Server) trustsClients() bool {
	return len(srv.live().TrustedProxies)+len(srv.live().ProxyProtocol) == 0 && slices.ContainsFunc(srv.cfg.Endpoints, func(ep Endpoint) bool { return ep.Insecure })
}

// Addr returns the address of the public listener; nil before Start, and without one.
func (srv *Server) Addr() net.Addr {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.public
}

// Run starts the server, waits until ctx is done, and shuts it down within
// drain.
func (srv *Server) Run(ctx context.Context, drain time.Duration) error {
	if err := srv.Start(); err != nil {
		return errors.Join(err, srv.Shutdown(context.Background()))
	}
	<-ctx.Done()
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return srv.Shutdown(bound)
}

// Count returns the number of open sessions of this process.
func (srv *Server) Count() int { return int(srv.sessions.Load()) }

// Config returns the configuration in force: defaults are filled in, and what Reconfigure
// has changed.
func (srv *Server) Config() Config {
	cfg := *srv.live()
	cfg.Endpoints = slices.Clone(cfg.Endpoints)
	cfg.AllowOrigins = slices.Clone(cfg.AllowOrigins)
	cfg.TrustedProxies = slices.Clone(cfg.TrustedProxies)
	cfg.ProxyProtocol = slices.Clone(cfg.ProxyProtocol)
	cfg.DurableTopics = slices.Clone(cfg.DurableTopics)
	cfg.PresenceTopics = slices.Clone(cfg.PresenceTopics)
	return cfg
}

// live returns the configuration in force, without a copy. It must not be modified.
func (srv *Server) live() *Config { return srv.current.Load() }

// What a server says about itself is in package stats.
type (
	// Stats describe a server: its state now, and counters since New.
	Stats = stats.Stats
	// ReplayStats describe the delivery of stored messages.
	ReplayStats = stats.Replay
	// TLSStats describe the TLS handshakes of the public listener.
	TLSStats = stats.TLS
	// Histogram counts durations by size.
	Histogram = stats.Histogram
)

// Stats returns a snapshot.
func (srv *Server) Stats() *Stats {
	out := srv.stats.Snapshot(srv.engine.Stats())
	rated := srv.rated.Stats()
	out.Conflated += rated.Replaced
	out.RatedWaiting, out.RatedEarly = rated.Waiting, rated.Early
	out.Transport = srv.engine.Transport().String()
	out.Status = srv.Status().String()
	out.UptimeSeconds = srv.now().Seconds()
	out.Sessions = srv.sessions.Load()
	out.Users, out.Topics = srv.users.Users(), srv.users.Topics()
	out.Connections, out.MaxConnections = srv.connections.Load(), srv.live().MaxConnections
	out.ClientWaiting = srv.waitingUpstream()
	out.UnfinishedBytes = srv.memory.Held()
	out.Nodes = 1
	if cl := srv.cluster; cl != nil {
		out.Nodes = cl.Nodes()
	}
	if srv.tls != nil {
		s := srv.tls.Stats()
		out.TLS = &TLSStats{Running: s.Running, Limit: s.Limit, Waiting: s.Waiting, Done: s.Handshakes, Resumed: s.Resumed, Failures: s.Failures}
	}
	if srv.replay != nil {
		r := ReplayStats(srv.replay.Stats())
		out.Replay = &r
	}
	return out
}
