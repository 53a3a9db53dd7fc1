package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/inbox"
)

// Server owns everything: listeners, connections, sessions, timers and the API.
type Server struct {
	// Immutable after New.
	cfg         Config
	log         *slog.Logger
	engine      *netpoll.Engine
	users       *registry.Registry[*Session]
	wheel       *registry.Wheel[*Session]
	appTimers   *registry.Wheel[*extension]
	endpoints   map[string]*endpoint
	lobby       *endpoint // of connections whose request is not known yet
	started     time.Time
	now         func() time.Duration // of the timer wheels, since started
	userPolicy  netpoll.Policy
	topicPolicy netpoll.Policy
	plain       *fasthttp.Server // ordinary HTTP on the public listener
	plainOpen   atomic.Int64     // requests that it serves
	api         *api             // nil: no API
	unread      *unread          // nil: no inbox
	nodes       *nodes           // nil: this process is the only one

	// Atomic.
	tick        atomic.Uint32 // ticks since started; never 0
	sessions    atomic.Int64  // open ones
	connections atomic.Int64  // all, also those in their handshake
	status      atomic.Uint32
	stats       stats
	pressed     atomic.Bool  // memory is short
	held        atomic.Int64 // bytes of all unfinished messages
	mostHeld    atomic.Int64 // that they may have
	sources     *sources
	shakeMu     sync.Mutex
	shakes      bucket // of all handshakes. guarded by shakeMu

	background sync.WaitGroup
	quit       context.Context // done when everything is to end
	stop       func()
	ended      chan struct{} // closed when everything has
	timers     chan []*extension

	mu     sync.Mutex
	public net.Addr // guarded by mu
	apiAt  net.Addr // guarded by mu
}

// endpoint is an Endpoint in use.
type endpoint struct {
	Endpoint
	srv *Server
}

const (
	starting uint32 = iota
	serving
	draining
	stopped
)

// New makes a server and starts its timers; nothing listens before Start.
// Shutdown must be called to end it.
func New(cfg Config) (*Server, error) {
	srv, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	srv.background.Go((&clock{srv: srv}).run)
	return srv, nil
}

// newServer makes a server whose clock stands still.
func newServer(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	engine, err := netpoll.New(netpoll.Config{
		Transport:      cfg.Transport,
		Workers:        cfg.Workers,
		QueueBytes:     cfg.QueueBytes,
		Logger:         cfg.Logger,
		RejectResponse: full.response(),
	})
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if room := descriptorLimit(); cfg.MaxConnections > room {
		cfg.Logger.Warn("there are too few descriptors for MaxConnections: raise the limit (ulimit -n, LimitNOFILE of systemd)", "connections", cfg.MaxConnections, "room", room)
	}
	srv := &Server{
		cfg:         cfg,
		log:         cfg.Logger,
		engine:      engine,
		sources:     newSources(),
		users:       registry.New[*Session](cfg.limits()),
		wheel:       registry.NewWheel[*Session](tick, wheelSlots),
		appTimers:   registry.NewWheel[*extension](tick, wheelSlots),
		endpoints:   make(map[string]*endpoint),
		started:     time.Now(),
		userPolicy:  cfg.UserFull.policy(netpoll.CloseOnFull),
		topicPolicy: cfg.TopicFull.policy(netpoll.DropOldest),
		ended:       make(chan struct{}),
		timers:      make(chan []*extension),
	}
	srv.quit, srv.stop = context.WithCancel(context.Background())
	srv.now = func() time.Duration { return time.Since(srv.started) }
	srv.tick.Store(1)
	srv.mostHeld.Store(math.MaxInt64) // until the clock's first beat
	srv.lobby = &endpoint{srv: srv}
	for _, ep := range cfg.Endpoints {
		srv.endpoints[ep.Path] = &endpoint{Endpoint: ep, srv: srv}
	}
	srv.plain = srv.newPlain()
	if cfg.API != "" {
		srv.api = newAPI(srv)
	}
	if cfg.Inbox != nil {
		store, err := inbox.Open(srv.quit, *cfg.Inbox)
		if err != nil {
			srv.stop()
			engine.Close()
			return nil, err
		}
		srv.unread = newUnread(srv, store)
		srv.background.Go(srv.unread.retry)
		if !store.Embedded() {
			if err := srv.join(store); err != nil {
				srv.stop()
				srv.background.Wait()
				store.Close()
				engine.Close()
				return nil, err
			}
		}
	}
	srv.background.Go(srv.runTimers)
	return srv, nil
}

// wheelSlots: one revolution of 51.2 s is longer than the default heartbeat, so
// that a timer is looked at once, when it is due.
const wheelSlots = 512

// Start opens the listeners that the Config names. An error leaves nothing open.
func (srv *Server) Start() error {
	var public, api net.Listener
	var err error
	if srv.cfg.Listen != "" {
		if public, err = listen(srv.cfg.Listen); err != nil {
			return err
		}
	}
	if srv.cfg.API != "" {
		if api, err = listen(srv.cfg.API); err != nil {
			if public != nil {
				public.Close()
			}
			return err
		}
	}
	if api != nil {
		srv.mu.Lock()
		srv.apiAt = api.Addr()
		srv.mu.Unlock()
		srv.serveAPI(api)
	}
	if public != nil {
		srv.mu.Lock()
		srv.public = public.Addr()
		srv.mu.Unlock()
		if err := srv.engine.Listen(public, srv.accept); err != nil {
			public.Close()
			srv.stopAPI()
			return fmt.Errorf("server: listen: %w", err)
		}
	}
	srv.status.CompareAndSwap(starting, serving)
	return nil
}

func listen(addr string) (net.Listener, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
		// A socket that a killed server left behind would be in the way.
		if conn, err := net.Dial(network, addr); err == nil {
			conn.Close()
		} else if info, err := os.Lstat(addr); err == nil && info.Mode()&os.ModeSocket != 0 {
			os.Remove(addr)
		}
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return ln, nil
}

// Addr is where the public listener listens; nil before Start or without one.
func (srv *Server) Addr() net.Addr {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.public
}

// APIAddr is where the API listens; nil before Start or without one.
func (srv *Server) APIAddr() net.Addr {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.apiAt
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

// accept makes the session of a connection that arrived.
func (srv *Server) accept(peer netip.AddrPort) (*netpoll.Conn, netpoll.Handler) {
	src, ok := srv.admits(peer.Addr())
	if !ok {
		return nil, nil
	}
	s := srv.newSession(srv.lobby)
	if s == nil {
		srv.sources.leave(src)
		return nil, nil
	}
	s.source = src
	s.arm(srv.cfg.HandshakeTimeout)
	return &s.conn, handler{s}
}

// newSession returns nil when the server is full.
func (srv *Server) newSession(ep *endpoint) *Session {
	if srv.connections.Add(1) > int64(srv.cfg.MaxConnections) {
		srv.connections.Add(-1)
		srv.stats.full.Add(1)
		return nil
	}
	s := new(Session)
	s.ep.Store(ep)
	s.heard.Store(srv.tick.Load())
	return s
}

// full is what a connection gets for which there is no room.
var full = &Refusal{Status: 503, Text: "the server is full, try again later", header: "Retry-After: 5\r\n"}

// Sessions is the number of open sessions.
func (srv *Server) Sessions() int { return int(srv.sessions.Load()) }
