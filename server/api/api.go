package server

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// apiRead bounds reading one request and apiWrite writing its answer; a batch,
	// which has no natural end, moves its deadlines along with its progress.
	apiRead  = 30 * time.Second
	apiWrite = 30 * time.Second
	// apiIdle is longer than the 90 s after which Go's client gives a kept connection
	// up, so that the client is the one to close and loses no request to a race.
	apiIdle = 2 * time.Minute
	// apiGrace is how long Shutdown waits for requests under way.
	apiGrace = 2 * time.Second
	// apiCleanup is how often fasthttp lets goroutines go that serve nothing. The one
	// that does it sleeps in between, so it outlives Shutdown by as much.
	apiCleanup = time.Second
	// apiHead bounds a request's head. A name that is too long by far shall still be
	// read and refused as a name: 10 KiB of them fit.
	apiHead = 16 << 10
	// apiPrefetch is how much of a body fasthttp reads before it calls the handler, at
	// the most: the first line of a batch shall not wait for the second. The limit on
	// bodies is ours, see readBody.
	apiPrefetch = 1

	apiName = "fanfare" // the Server field
)

// api is the HTTP API. fasthttp has no recover around handlers, and neither has this:
// a handler that panics is a bug that ends the program.
type api struct {
	// Immutable after newAPI.
	srv        *Server
	http       *fasthttp.Server
	keys       []keyDigest
	prometheus fasthttp.RequestHandler
	desks      desks

	// Tests have less.
	idle  time.Duration // batchIdle
	grace time.Duration // apiGrace
	limit int           // apiConnections

	mu       sync.Mutex
	ln       net.Listener                    // guarded by mu
	stopping bool                            // guarded by mu
	conns    map[*apiConn]fasthttp.ConnState // open ones; guarded by mu
	refused  map[*apiConn]struct{}           // those that are told so; guarded by mu
	streams  map[*batch]struct{}             // batches under way; guarded by mu
}

func newAPI(srv *Server) *api {
	a := &api{
		srv:        srv,
		keys:       digestKeys(srv.cfg.APIKeys),
		prometheus: newMetrics(srv),
		desks:      newDesks(),
		idle:       batchIdle,
		grace:      apiGrace,
		limit:      apiConnections,
		conns:      make(map[*apiConn]fasthttp.ConnState),
		refused:    make(map[*apiConn]struct{}),
		streams:    make(map[*batch]struct{}),
	}
	a.http = &fasthttp.Server{
		Handler:                      a.serve,
		HeaderReceived:               a.dropBody,
		ErrorHandler:                 a.unreadable,
		ConnState:                    a.track,
		Name:                         apiName,
		NoDefaultServerHeader:        true,
		Concurrency:                  2 * apiConnections, // roomListener is the limit; a goroutine may be at its end
		MaxIdleWorkerDuration:        apiCleanup,
		ReadTimeout:                  apiRead,
		WriteTimeout:                 apiWrite,
		IdleTimeout:                  apiIdle,
		ReadBufferSize:               apiHead,
		MaxRequestBodySize:           apiPrefetch,
		StreamRequestBody:            true, // for batches; the switch is for all routes
		DisablePreParseMultipartForm: true, // a body is delivered as it is
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true, // no request, and so no key, in a log
		Logger:                       fasthttpLog{srv.log},
	}
	return a
}

// serveAPI serves the API on ln until stopAPI.
func (srv *Server) serveAPI(ln net.Listener) {
	a := srv.api
	a.mu.Lock()
	a.ln = ln
	stopping := a.stopping
	a.mu.Unlock()
	if stopping {
		ln.Close()
		return
	}
	srv.background.Go(func() {
		patient := &patientListener{Listener: ln, quit: srv.quit.Done(), log: srv.log}
		if err := a.http.Serve(roomListener{patient, a}); err != nil {
			srv.log.Error("the API stopped", "err", err)
		}
	})
}

// stopAPI ends the API: connections that wait for a request are closed, requests
// under way get apiGrace to be answered, batches end behind the line they are at.
func (srv *Server) stopAPI() {
	a := srv.api
	if a == nil {
		return
	}
	a.mu.Lock()
	a.stopping = true
	ln := a.ln
	batches := slices.Collect(maps.Keys(a.streams))
	waiting := slices.Collect(maps.Keys(a.refused))
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
	if ln == nil {
		return
	}
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

// track keeps the open connections, to close them at the end: fasthttp counts a new
// one as idle only after 5 s.
func (a *api) track(nc net.Conn, state fasthttp.ConnState) {
	c := nc.(*apiConn) // patientListener accepts no others
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
