package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/internal/field"
)

const (
	// readTimeout bounds reading one request and writeTimeout writing its answer; a batch,
	// which has no natural end, moves its deadlines along with its progress.
	readTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
	// idleTimeout is longer than the 90 s after which Go's client gives a kept connection
	// up, so that the client is the one to close and loses no request to a race.
	idleTimeout = 2 * time.Minute
	// stopGrace is how long Shutdown waits for requests under way.
	stopGrace = 2 * time.Second
	// cleanupInterval is how often fasthttp lets goroutines go that serve nothing. The one
	// that does it sleeps in between, so it outlives Shutdown by as much.
	cleanupInterval = time.Second
	// maxHead bounds a request's head. A name that is too long by far shall still be
	// read and refused as a name: 10 KiB of them fit.
	maxHead = 16 << 10
	// prefetch is how much of a body fasthttp reads before it calls the handler, at
	// the most: the first line of a batch shall not wait for the second. The limit on
	// bodies is ours, see readBody.
	prefetch = 1

	serverName = "fanfare" // the Server field
)

// Config of an API. Zero is the safe default of every field but Listen.
type Config struct {
	// Listen is the address of the listener, as for server.Listen.
	Listen string
	// Keys are accepted as "Authorization: Bearer KEY". Without any the API serves
	// this machine only: Listen must be loopback or a Unix socket.
	Keys []string
	// ReadyWithoutStore answers /readyz with 200 while the store, or the connection to
	// the other nodes, is not available: live messages work without it. Otherwise the
	// answer is 503 while the store is not available.
	ReadyWithoutStore bool
	// Pprof serves /debug/pprof.
	Pprof bool
	// Version of the program, for /v1/stats and the metrics.
	Version string
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// minKey is the shortest key: 16 random characters are 64 bits at least.
const minKey = 16

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	var errs []error
	for _, key := range cfg.Keys {
		if len(key) < minKey {
			errs = append(errs, field.Errorf("Keys", "has a key of %d bytes: want at least %d", len(key), minKey))
		}
	}
	if len(cfg.Keys) == 0 && !server.IsLoopback(cfg.Listen) {
		errs = append(errs, field.Errorf("Keys", "is empty, and the API listens on %s, which is not loopback: "+
			"set a key, or listen on 127.0.0.1", cfg.Listen))
	}
	if len(errs) > 0 {
		return fmt.Errorf("api: %w", errors.Join(errs...))
	}
	return nil
}

// API is the HTTP API of a server.
type API struct {
	// Immutable after New.
	cfg        Config
	srv        *server.Server
	limits     server.Config // in force
	http       *fasthttp.Server
	keys       []keyDigest
	prometheus fasthttp.RequestHandler
	slots      cpuSlots
	quit       context.Context // done when the API is to end
	stop       func()

	// Immutable after New; tests set lower values.
	idle  time.Duration // batchIdle
	grace time.Duration // stopGrace
	limit int           // maxConnections

	// Atomic.
	panics   atomic.Int64 // in handlers
	unserved atomic.Int64 // connections rejected because there were too many

	background sync.WaitGroup

	mu       sync.Mutex
	ln       net.Listener                 // guarded by mu
	stopping bool                         // guarded by mu
	conns    map[*conn]fasthttp.ConnState // open ones; guarded by mu
	rejected map[*conn]struct{}           // being answered 503; guarded by mu
	streams  map[*batch]struct{}          // batches under way; guarded by mu
}

// New makes the API of a server. Nothing listens before Start.
func New(srv *server.Server, cfg Config) (*API, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &API{
		cfg:      cfg,
		srv:      srv,
		limits:   srv.Config(),
		keys:     digestKeys(cfg.Keys),
		slots:    newCPUSlots(),
		idle:     batchIdle,
		grace:    stopGrace,
		limit:    maxConnections,
		conns:    make(map[*conn]fasthttp.ConnState),
		rejected: make(map[*conn]struct{}),
		streams:  make(map[*batch]struct{}),
	}
	a.quit, a.stop = context.WithCancel(context.Background())
	a.prometheus = newMetrics(a)
	a.http = &fasthttp.Server{
		Handler:                      a.serve,
		HeaderReceived:               a.dropBody,
		ErrorHandler:                 a.unreadable,
		ConnState:                    a.track,
		Name:                         serverName,
		NoDefaultServerHeader:        true,
		Concurrency:                  2 * maxConnections, // roomListener is the limit; a goroutine may be at its end
		MaxIdleWorkerDuration:        cleanupInterval,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               maxHead,
		MaxRequestBodySize:           prefetch,
		StreamRequestBody:            true, // for batches; the switch is for all routes
		DisablePreParseMultipartForm: true, // a body is delivered as it is
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true, // no request, and so no key, in a log
		Logger:                       logger{cfg.Logger},
	}
	return a, nil
}

// Start opens the listener and serves it until Shutdown.
func (a *API) Start() error {
	ln, err := server.Listen(a.cfg.Listen)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.ln = ln
	stopping := a.stopping
	a.mu.Unlock()
	if stopping {
		ln.Close()
		return net.ErrClosed
	}
	a.background.Go(func() {
		patient := &patientListener{Listener: ln, quit: a.quit.Done(), log: a.cfg.Logger}
		if err := a.http.Serve(roomListener{patient, a}); err != nil {
			a.cfg.Logger.Error("API stopped", "err", err)
		}
	})
	return nil
}

// Addr is the address of the listener; nil before Start.
func (a *API) Addr() net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ln == nil {
		return nil
	}
	return a.ln.Addr()
}

// Shutdown ends the API: connections that wait for a request are closed, requests
// under way get two seconds to be answered, batches end after the line they are at.
func (a *API) Shutdown() {
	a.mu.Lock()
	a.stopping = true
	ln := a.ln
	batches := slices.Collect(maps.Keys(a.streams))
	waiting := slices.Collect(maps.Keys(a.rejected))
	for c, state := range a.conns {
		if state != fasthttp.StateActive {
			waiting = append(waiting, c)
		}
	}
	a.mu.Unlock()
	for _, b := range batches {
		b.interrupt()
	}
	for _, c := range waiting {
		c.abort()
	}
	if ln != nil {
		ln.Close() // fasthttp closes it too, if Serve was fast enough to tell it
		ctx, cancel := context.WithTimeout(context.Background(), a.grace)
		defer cancel()
		if errors.Is(a.http.ShutdownWithContext(ctx), context.DeadlineExceeded) {
			a.mu.Lock()
			late := slices.Collect(maps.Keys(a.conns))
			a.mu.Unlock()
			for _, c := range late {
				c.abort()
			}
		}
	}
	a.stop()
	a.background.Wait()
}

// track keeps the open connections, to close them at the end: fasthttp counts a new
// one as idle only after 5 s.
func (a *API) track(nc net.Conn, state fasthttp.ConnState) {
	c := nc.(*conn) // patientListener accepts no others
	a.mu.Lock()
	if state == fasthttp.StateClosed {
		delete(a.conns, c)
	} else {
		a.conns[c] = state
	}
	late := a.stopping && (state == fasthttp.StateNew || state == fasthttp.StateIdle)
	a.mu.Unlock()
	if late {
		c.abort()
	}
}
