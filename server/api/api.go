package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/body"
	"fanfare/server/api/internal/places"
	"fanfare/server/api/internal/problem"
	"fanfare/server/internal/secure"
	"fanfare/server/listen"
)

const (
	// readTimeout bounds reading one request and writeTimeout writing its answer; a batch,
	// which has no natural end, moves its deadlines along with its progress.
	readTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
	// idleTimeout exceeds the 90 s after which Go's client closes an idle connection, so
	// that the client closes first and loses no request to a race.
	idleTimeout = 2 * time.Minute
	// stopGrace is how long Shutdown waits for requests in progress.
	stopGrace = 2 * time.Second
	// cleanupInterval is how often fasthttp ends idle goroutines. The goroutine that does
	// it sleeps in between, so it outlives Shutdown by this time.
	cleanupInterval = time.Second
	// maxHead bounds the head of a request. Names of 10 KiB fit, so that they are rejected
	// as names.
	maxHead = 16 << 10
	// prefetch is how much of a body fasthttp may read before it calls the handler: the
	// first line of a batch must not wait for the second. readBody limits bodies.
	prefetch = 1

	serverName = "fanfare" // the Server field

	// lowConnections: Start logs a limit below this one.
	lowConnections = 64
)

// API is the HTTP API of a server.
type API struct {
	// Immutable after New.
	cfg        Config
	srv        *server.Server
	limits     server.Config // when the API was made; Server.Reconfigure changes other fields than the API reads here
	http       *fasthttp.Server
	conns      *places.Table[*conn]
	full       *problem.Problem // the answer to a connection without a place
	prometheus fasthttp.RequestHandler
	requests   *requestMetrics
	slots      body.Slots
	quit       context.Context // done when the API ends
	stop       func()
	waits      context.Context // of requests that wait for messages; done when Leave or Shutdown begins
	endWaits   func()

	// Immutable after New; tests set other values.
	now         func() time.Time
	idle        time.Duration // batchIdle
	pause       time.Duration // lingerPause
	stall       time.Duration // batchStall
	grace       time.Duration // stopGrace
	traceBeat   time.Duration // traceBeat
	answerLimit int           // maxAnswers
	answerTotal int64         // maxAnswersTotal
	maxWaiting  int64         // half of the connections, so that the others serve pushes

	// Atomic.
	keys        atomic.Pointer[[]keyDigest] // what it points at is immutable
	tls         atomic.Pointer[tls.Config]  // nil: no TLS; what it points at is immutable
	unchecked   atomic.Bool                 // a key that is not checked has been logged
	panics      atomic.Int64                // in handlers
	unserved    atomic.Int64                // connections rejected because there were too many
	displaced   atomic.Int64                // connections closed for new ones
	received    atomic.Int64                // bytes
	sent        atomic.Int64                // bytes
	lines       atomic.Int64                // of batches that were served
	badLines    atomic.Int64                // of batches that were answered with an error
	answerBytes atomic.Int64                // answers to batches that wait for their clients
	answersFull atomic.Int64                // batches ended because of answerLimit or answerTotal
	leaving     atomic.Bool                 // Leave was called
	waiting     atomic.Int64                // requests that wait for messages

	tlsHandshakes, tlsFailed, proxyHeaders atomic.Int64 // proxyHeaders: missing or malformed

	background sync.WaitGroup

	mu       sync.Mutex
	ln       net.Listener        // guarded by mu
	stopping bool                // guarded by mu
	streams  map[*batch]struct{} // batches in progress; guarded by mu
}

// New makes the API of a server. Nothing listens before Start.
func New(srv *server.Server, cfg Config) (*API, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &API{
		cfg:         cfg,
		srv:         srv,
		limits:      srv.Config(),
		requests:    newRequestMetrics(),
		slots:       body.NewSlots(),
		now:         time.Now,
		idle:        batchIdle,
		pause:       lingerPause,
		stall:       batchStall,
		grace:       stopGrace,
		traceBeat:   traceBeat,
		answerLimit: maxAnswers,
		answerTotal: maxAnswersTotal,
		streams:     make(map[*batch]struct{}),
	}
	a.keys.Store(digestKeys(cfg.Keys))
	if cfg.TLS != nil {
		a.useTLS(cfg.TLS)
	}
	a.conns = places.New[*conn](cfg.MaxConnections, a.limits.OtherDescriptors)
	a.full = fullProblem(a.conns)
	a.maxWaiting = max(int64(a.conns.Limit())/2, 1)
	a.quit, a.stop = context.WithCancel(context.Background())
	a.waits, a.endWaits = context.WithCancel(a.quit)
	a.prometheus = newMetrics(a)
	a.http = &fasthttp.Server{
		Handler:                      a.serve,
		HeaderReceived:               a.dropBody,
		ErrorHandler:                 a.unreadable,
		ConnState:                    a.track,
		Name:                         serverName,
		NoDefaultServerHeader:        true,
		Concurrency:                  2*a.conns.Limit() + 1024, // places.Table is the limit; goroutines of closed connections may still end
		MaxIdleWorkerDuration:        cleanupInterval,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               maxHead,
		MaxRequestBodySize:           prefetch,
		StreamRequestBody:            true, // for batches; the switch is for all routes
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true, // no request, and so no key, in a log
		Logger:                       logger{cfg.Logger},
	}
	return a, nil
}

// SetKeys changes Config.Keys: the next request on any connection needs one of them. The
// error is that of Config.Validate; then the keys stay.
func (a *API) SetKeys(keys []string) error {
	cfg := a.cfg
	cfg.Keys = keys
	if err := cfg.validate(); err != nil {
		return err
	}
	a.keys.Store(digestKeys(keys))
	return nil
}

// ErrNoTLS is what SetTLS returns for an API without Config.TLS.
var ErrNoTLS = errors.New("api: Config.TLS is nil, so connections are served without TLS")

// SetTLS replaces Config.TLS for the connections that are accepted from now on. Open
// connections are not affected.
func (a *API) SetTLS(cfg *tls.Config) error {
	if a.tls.Load() == nil {
		return ErrNoTLS
	}
	if err := secure.Validate(cfg); err != nil {
		return err
	}
	a.useTLS(cfg)
	return nil
}

func (a *API) useTLS(cfg *tls.Config) {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	a.tls.Store(cfg)
}

// Start opens the listener that Config.Listen names and serves it until Shutdown.
func (a *API) Start() error {
	ln, err := listen.Open(a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return a.Serve(ln)
}

// Serve serves a listener until Shutdown, which closes it, and returns at once. It takes
// the place of Start, and is called once. Config.Listen must be the listener's address: it
// decides whether keys are required.
func (a *API) Serve(ln net.Listener) error {
	if !a.begin(ln) {
		ln.Close()
		return net.ErrClosed
	}
	if a.conns.Limit() < lowConnections {
		a.cfg.Logger.Info("API connection limit is low", "connections", a.conns.Limit(), "descriptors", a.conns.Descriptors())
	}
	return nil
}

// begin starts the goroutine that serves ln. It returns false if Shutdown was called: it
// waits for goroutines that were started before, and none may start afterwards.
func (a *API) begin(ln net.Listener) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ln = ln
	if a.stopping {
		return false
	}
	a.background.Go(func() {
		retrying := &retryListener{Listener: ln, api: a}
		if err := a.http.Serve(boundedListener{retrying, a}); err != nil {
			a.cfg.Logger.Error("API stopped", "err", err)
		}
	})
	return true
}

// Addr returns the address of the listener; nil before Start.
func (a *API) Addr() net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ln == nil {
		return nil
	}
	return a.ln.Addr()
}

// Shutdown ends the API: connections that wait for a request are closed, requests in
// progress have two seconds to be answered, batches end after their current line, and requests
// that wait for a message are answered without one.
func (a *API) Shutdown() {
	a.endWaits()
	a.mu.Lock()
	a.stopping = true
	ln := a.ln
	var batches []*batch
	for b := range a.streams {
		batches = append(batches, b)
	}
	a.mu.Unlock()
	for _, b := range batches {
		b.interrupt()
	}
	for _, c := range a.conns.Stop() {
		c.abort()
	}
	if ln != nil {
		ln.Close() // fasthttp closes it, too, if Serve has got as far as to register it
		ctx, cancel := context.WithTimeout(context.Background(), a.grace)
		defer cancel()
		if errors.Is(a.http.ShutdownWithContext(ctx), context.DeadlineExceeded) {
			for _, c := range a.conns.All() {
				c.abort()
			}
		}
	}
	a.stop()
	a.background.Wait()
}

// logger logs what fasthttp reports, at debug level because it concerns single requests of
// clients that break the protocol.
type logger struct{ log *slog.Logger }

func (l logger) Printf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
