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

// Config configures an Engine. The zero value is the safe default.
type Config struct {
	// Transport says how connections are watched. Default is Epoll on Linux and
	// Goroutine elsewhere.
	Transport Transport
	// Workers bounds the goroutines that serve ready connections at a time,
	// including goroutines blocked in a Handler. 0: 1024.
	Workers int
	// QueueBytes bounds the outbound queue of a connection. Each message counts 32
	// bytes more than its length, for the queue's own entry. 0: 64 KiB.
	QueueBytes int
	// ReadBuffer is the size of a worker's read buffer. 0: 64 KiB.
	ReadBuffer int
	// RejectResponse is sent to a connection that Accept rejects, as much of it as
	// fits the socket's buffer; linger.go says how the peer gets to read it. Empty:
	// nothing is sent.
	RejectResponse []byte
	// Logger receives errors that an operator must know of. nil: slog.Default().
	Logger *slog.Logger
}

func (cfg *Config) validate() error {
	if cfg.Transport == Default {
		cfg.Transport = defaultTransport
	}
	if cfg.Transport > Goroutine {
		return fmt.Errorf("netpoll: unknown transport %v", cfg.Transport)
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
			return fmt.Errorf("netpoll: Config.%s is %d: want %d to %d", f.name, *f.v, f.low, f.top)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return nil
}

// Accept decides about a connection that arrived at a listener. It returns the Conn for
// it and its Handler, or nil to reject the connection. It must not block.
type Accept func(peer netip.AddrPort) (*Conn, Handler)

// Engine watches connections and runs their handlers. See doc.go.
type Engine struct {
	// Immutable after New.
	transport      Transport
	poller         Poller // nil for Goroutine
	maxWorkers     int
	queueBytes     int
	readBuffer     int
	buffers        sync.Pool
	rejectResponse []byte
	lingering      lingerList
	log            *slog.Logger

	stats   counters
	traffic traffic
	lastGen atomic.Uint32
	accept  func(fd int) (int, netip.AddrPort, syscall.Errno) // accept4(2), but for tests
	table   table
	streams streams

	// The pool; see worker.go.
	batch        batch
	harvesting   atomic.Bool
	asleep       atomic.Bool          // the harvester waits, or is about to
	workers      atomic.Int32         // started and not ended
	starting     atomic.Int32         // of those, the ones that the scheduler has not run yet
	harvestedAt  atomic.Int64         // when the batch was harvested, ns since start
	began        time.Time            // start; immutable
	clock        func() time.Duration // since start; time.Since, but for tests
	events       []Event              // owned by the harvester
	monitorSleep monitorSleep
	yielded      yieldQueue
	lastGosched  atomic.Int64 // when a worker called Gosched, ns since start
	leftovers    leftovers
	freezer      atomic.Pointer[freezer] // of the last Freeze
	shared       atomic.Bool             // see ShareDescriptors
	marks        Marks                   // nil: none; immutable once there are connections
	done         sync.WaitGroup

	mu        sync.Mutex
	injected  []*Conn     // queued by something else than the poller. guarded by mu
	listeners []*listener // guarded by mu
	closing   atomic.Bool // set with mu held
	retry     *time.Timer // resumes paused listeners; immutable
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
		transport:      cfg.Transport,
		poller:         poller,
		maxWorkers:     cfg.Workers,
		queueBytes:     cfg.QueueBytes,
		readBuffer:     cfg.ReadBuffer,
		rejectResponse: cfg.RejectResponse,
		log:            cfg.Logger,
		accept:         acceptFD,
		events:         make([]Event, batchSize),
	}
	e.began = time.Now()
	e.clock = func() time.Duration { return time.Since(e.began) }
	e.buffers.New = func() any { b := make([]byte, cfg.ReadBuffer); return &b }
	e.streams.init()
	e.leftovers.init(&e.buffers)
	e.retry = e.stoppedTimer(e.retryAccept)
	e.lingering.timer = e.stoppedTimer(func() { e.lingering.expire(e.now()) })
	if poller != nil {
		e.monitorSleep.init()
		e.done.Add(1)
		go e.monitor()
		e.spawn(1)
	}
	return e
}

// Transport returns the transport that the engine uses, never Default.
func (e *Engine) Transport() Transport { return e.transport }

// Opened returns the number of open connections.
func (e *Engine) Opened() int {
	return int(e.table.count.Load()) - int(e.stats.listening.Load()) + e.streams.count()
}

// stoppedTimer returns a timer for f that is not running. Close waits for a call of f
// that has begun, and no call begins after it.
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

// enter registers a goroutine that the engine did not start. Close waits until it has
// called e.done.Done. After Close enter returns false.
func (e *Engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Load() {
		return false
	}
	e.done.Add(1)
	return true
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
	c.clearMark()
	e.table.put(c.fd, c)
	// If Close has begun it may have walked the table already, and the workers may
	// have ended because the table was empty.
	err := net.ErrClosed
	if !e.closing.Load() {
		err = e.poller.Add(fd, c.gen)
	}
	if err != nil {
		c.mu.Lock()
		c.closeLocked()
		c.setLocked(flagReleased)
		c.mu.Unlock()
		e.dropFD(c)
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

// nextGen returns a new generation. 0 is reserved for the waker.
func (e *Engine) nextGen() uint32 {
	for {
		if gen := e.lastGen.Add(1); gen != 0 {
			return gen
		}
	}
}

// unwatch gives up the descriptor of a connection whose turn the caller holds. closing
// says that no other descriptor refers to the socket, so that the connection ends.
func (e *Engine) unwatch(c *Conn, closing bool) {
	if c.has(flagListener) {
		// A duplicate that is served later would find the registration of this one: it may get the
		// same number, and the kernel forgets a socket when the last descriptor of it is closed.
		e.poller.Remove(int(c.fd), false)
	} else if e.shared.Load() && closing {
		shutdownBoth(int(c.fd))
		e.poller.Remove(int(c.fd), false)
	} else {
		e.poller.Remove(int(c.fd), closing)
	}
	if c.has(flagListener) {
		e.stats.listening.Add(-1)
	} else {
		e.stats.closed.Add(1)
	}
	if closing && !c.has(flagListener) {
		limitUnsent(int(c.fd))
	}
	e.dropFD(c)
	e.retryAccept()
}

// dropFD closes a descriptor that the poller does not watch.
func (e *Engine) dropFD(c *Conn) {
	c.clearMark()
	e.table.drop(c.fd, c)
	closeFD(int(c.fd))
	if e.closing.Load() && e.table.count.Load() == 0 {
		e.poller.Wake() // Close waits for the last one
	}
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

// Close closes the listeners and all connections, waits until every Handler.Close has
// returned, and stops the workers. A Handler must not call it. A Handler that blocks
// keeps Close waiting.
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
	e.lingering.end()
	e.table.each((*Conn).Close)
	for _, c := range e.streams.all() {
		c.Close()
	}
	if e.poller == nil {
		e.done.Wait()
		return nil
	}
	e.poller.Wake()
	e.monitorSleep.stop()
	e.done.Wait()
	return e.poller.Close()
}

// deadline returns the time that is d from now, for a net.Conn.
func (e *Engine) deadline(d time.Duration) time.Time { return e.began.Add(e.now() + d) }

// now returns the time since the engine started.
func (e *Engine) now() time.Duration { return e.clock() }
