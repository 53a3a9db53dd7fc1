package netpoll

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config of an Engine. The zero value is the safe default.
type Config struct {
	// Transport; Default is Epoll on Linux and Goroutine elsewhere.
	Transport Kind
	// Workers is the most goroutines that serve ready connections at a time,
	// those blocked in a handler included. 0: 1024.
	Workers int
	// QueueBytes bounds the outbound queue of a connection; each message counts
	// 32 bytes besides its own, which it takes. 0: 64 KiB.
	QueueBytes int
	// ReadBuffer is the size of a worker's read buffer. 0: 64 KiB.
	ReadBuffer int
	// Refusal is sent to a connection that Accept refuses, as far as it goes at
	// once; refused.go says how the peer comes to read it. Empty: nothing.
	Refusal []byte
	// Logger gets what an operator must know. nil: slog.Default().
	Logger *slog.Logger
}

func (cfg *Config) validate() error {
	if cfg.Transport == Default {
		cfg.Transport = defaultKind
	}
	if cfg.Transport > Goroutine {
		return fmt.Errorf("netpoll: there is no transport %v", cfg.Transport)
	}
	for _, f := range []struct {
		name          string
		v             *int
		def, low, top int
	}{
		{"Workers", &cfg.Workers, 1024, 1, 1 << 16},
		{"QueueBytes", &cfg.QueueBytes, 64 << 10, 1 << 10, 1 << 30},
		{"ReadBuffer", &cfg.ReadBuffer, 64 << 10, 1 << 10, 1 << 24},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.low || *f.v > f.top {
			return fmt.Errorf("netpoll: %s is %d: want %d to %d", f.name, *f.v, f.low, f.top)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return nil
}

// Accept is called for each connection that arrives at a listener and returns
// its owner, or nil to refuse it. It must not block.
type Accept func(peer netip.AddrPort) (*Conn, Handler)

// Engine watches connections and runs their handlers. See doc.go.
type Engine struct {
	// Immutable after New.
	kind       Kind
	poller     Poller // nil for Goroutine
	maxWorkers int
	queueBytes int
	buffers    sync.Pool
	refusal    []byte
	refused    refused
	log        *slog.Logger

	stats   counters
	lastGen atomic.Uint32
	accept  func(fd int) (int, netip.AddrPort, syscall.Errno) // accept4(2), but for tests
	table   table
	streams streams

	// The pool; see worker.go.
	batch      batch
	harvesting atomic.Bool
	asleep     atomic.Bool  // the harvester is blocked, or about to be
	workers    atomic.Int32 // running
	stamp      atomic.Int64 // when the batch was harvested, ns since start
	start      time.Time
	events     []Event // owned by the harvester
	watch      watch
	yields     yields
	breath     atomic.Int64 // when a worker let others run, ns since start
	leftovers  leftovers
	done       sync.WaitGroup

	mu        sync.Mutex
	injected  []*Conn // turns asked for outside of the poller. guarded by mu
	listeners []*listener
	closing   atomic.Bool
	retry     *time.Timer // of starved listeners
}

// New starts an engine with one worker.
func New(cfg Config) (*Engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	poller, err := newPoller(cfg.Transport)
	if err != nil {
		return nil, err
	}
	return start(cfg, poller), nil
}

func start(cfg Config, poller Poller) *Engine {
	e := &Engine{
		kind:       cfg.Transport,
		poller:     poller,
		maxWorkers: cfg.Workers,
		queueBytes: cfg.QueueBytes,
		refusal:    cfg.Refusal,
		log:        cfg.Logger,
		accept:     acceptFD,
		start:      time.Now(),
		events:     make([]Event, batchSize),
	}
	e.buffers.New = func() any { b := make([]byte, cfg.ReadBuffer); return &b }
	e.streams.init()
	e.leftovers.init(&e.buffers)
	e.retry = e.stoppedTimer(e.retryAccept)
	e.refused.timer = e.stoppedTimer(func() { e.refused.expire(e.now()) })
	if poller != nil {
		e.watch.init()
		e.done.Add(1)
		go e.monitor()
		e.spawn(1)
	}
	return e
}

// Kind of the transport.
func (e *Engine) Kind() Kind { return e.kind }

// Opened is the number of connections that the engine holds.
func (e *Engine) Opened() int {
	return int(e.table.count.Load()) - int(e.stats.listening.Load()) + e.streams.count()
}

// stoppedTimer returns a timer for f that does not run yet. Close waits for an f that
// runs, and none begins after it.
func (e *Engine) stoppedTimer(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, func() {
		if e.enter() {
			defer e.done.Done()
			f()
		}
	})
	t.Stop()
	return t
}

// enter lets a goroutine in that the engine did not start. Close waits until it
// has called e.done.Done; behind Close it reports false.
func (e *Engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return false
	}
	e.done.Add(1)
	return true
}

// Adopt takes over a connection that was accepted elsewhere, for example by
// net/http. If Watches says so its descriptor moves to the engine, else it is
// served by a goroutine of its own; both ways nc must not be used any more. After an
// error nc is as it was, so that the caller can answer on it, and closes it; h was not
// called and c cannot be used again. c belongs to h, whose Open is called before Adopt returns, and after it Data with
// pending, the bytes that were read ahead, if there are any.
func (e *Engine) Adopt(nc net.Conn, c *Conn, h Handler, pending []byte) error {
	if !e.enter() {
		return net.ErrClosed
	}
	defer e.done.Done()
	if e.Watches(nc) {
		fd, err := dupDescriptor(nc)
		if err != nil {
			return err
		}
		if err := e.watchFD(fd, c, h); err != nil {
			return err
		}
		nc.Close() // takes it out of the runtime's poller; one descriptor is left
		c.handOver(pending)
		e.finish(c)
		return nil
	}
	e.openStream(nc, c, h)
	c.handOver(pending)
	go c.pump(c.link)
	return nil
}

// Watches tells whether Adopt takes the descriptor out of nc. It does not where
// bytes pass through something on their way that only nc knows: TLS, or a
// connection that a program has wrapped, be it to count bytes.
func (e *Engine) Watches(nc net.Conn) bool {
	return e.poller != nil && isSocket(nc)
}

// isSocket tells whether v is nothing but a socket. The types are named because
// one that embeds a *net.TCPConn has its SyscallConn too, and may do anything in
// its Read, Write and Close.
func isSocket(v any) bool {
	switch v.(type) {
	case *net.TCPConn, *net.UnixConn, *net.TCPListener, *net.UnixListener:
		return true
	}
	return false
}

// open watches a descriptor that was accepted, or that listens, and calls h.Open. After
// an error the descriptor is closed and h was not called.
func (e *Engine) open(fd int, c *Conn, h Handler) error {
	if err := e.watchFD(fd, c, h); err != nil {
		return err
	}
	h.Open(c)
	e.finish(c)
	return nil
}

// watchFD makes c the connection of a descriptor and watches it. The caller holds the
// turn from then on, so a goroutine that finds c in the table cannot release it before
// it is watched. After an error the descriptor is closed.
func (e *Engine) watchFD(fd int, c *Conn, h Handler) error {
	c.begin(e, h, nil, fd)
	e.table.put(c.fd, c)
	// If Close has begun it may have walked the table already; the workers may
	// even be gone, because it was empty.
	err := net.ErrClosed
	if !e.closing.Load() {
		err = e.poller.Add(fd, c.gen)
	}
	if err != nil {
		c.mu.Lock()
		c.closeLocked()
		c.setLocked(flagReleased)
		c.mu.Unlock()
		e.vacate(c)
		c.turn.move(moveEnd, 0)
		return err
	}
	if c.has(flagListener) {
		e.stats.listening.Add(1)
	} else {
		e.stats.opened.Add(1)
	}
	return nil
}

// nextGen returns a generation. 0 is reserved for the waker.
func (e *Engine) nextGen() uint32 {
	for {
		if gen := e.lastGen.Add(1); gen != 0 {
			return gen
		}
	}
}

// forget releases the descriptor of a connection whose turn the caller holds.
// With closing there is no other descriptor of the same socket.
func (e *Engine) forget(c *Conn, closing bool) {
	e.poller.Remove(int(c.fd), closing)
	if c.has(flagListener) {
		e.stats.listening.Add(-1)
	} else {
		e.stats.closed.Add(1)
	}
	if closing && !c.has(flagListener) {
		limitUnsent(int(c.fd))
	}
	e.vacate(c)
	e.retryAccept()
}

// vacate closes a descriptor that nothing watches.
func (e *Engine) vacate(c *Conn) {
	e.table.drop(c.fd, c)
	closeFD(int(c.fd))
	if e.closing.Load() && e.table.count.Load() == 0 {
		e.poller.Wake() // Close waits for the last one
	}
}

// Each calls f with the handler of every connection that is open during the
// whole call, and of some of those that come or go meanwhile.
func (e *Engine) Each(f func(Handler)) {
	for i := range e.Portions() {
		e.EachOf(i, f)
	}
}

// Portions is the number of parts that EachOf divides the connections into.
func (e *Engine) Portions() int { return e.table.portions() + 1 }

// EachOf is Each for one part, so that several goroutines can share a walk, and
// others get their turn between two parts. Parts go by descriptor number: the
// kernel's own structures lie about in that order, and writing to all
// connections costs a sixth less CPU than in a random one.
func (e *Engine) EachOf(portion int, f func(Handler)) {
	if portion == 0 { // first, because the table may grow meanwhile
		for _, c := range e.streams.all() {
			f(c.handler)
		}
		return
	}
	e.table.eachOf(portion-1, func(c *Conn) {
		if !c.has(flagListener) {
			f(c.handler)
		}
	})
}

// StopAccepting closes the listeners.
func (e *Engine) StopAccepting() {
	e.mu.Lock()
	listeners := e.listeners
	e.listeners = nil
	e.mu.Unlock()
	for _, l := range listeners {
		l.stop()
	}
}

// Close closes the listeners and all connections, waits until the handlers have
// been told, and stops the workers. It must not be called by a handler.
func (e *Engine) Close() error {
	e.mu.Lock()
	again := e.closing.Swap(true) // under mu: see enter
	e.mu.Unlock()
	if again {
		e.done.Wait()
		return nil
	}
	e.StopAccepting()
	e.retry.Stop()
	e.refused.end()
	e.table.each((*Conn).Close)
	for _, c := range e.streams.all() {
		c.Close()
	}
	if e.poller == nil {
		e.done.Wait()
		return nil
	}
	e.poller.Wake()
	e.watch.stop()
	e.done.Wait()
	return e.poller.Close()
}

// now is the time since the engine began.
func (e *Engine) now() time.Duration { return time.Since(e.start) }
