package secure

import (
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/tlsrecord"
)

const (
	// maxHandshakes bounds the goroutines of handshakes. Most of them wait for the
	// network, so there are many more than cores. Each takes about 30 KiB.
	maxHandshakes = 4096
	// handshakeCost is what a handshake counts against the memory for requests.
	handshakeCost = 32 << 10

	// maxBusy connections keep their AEADs: 2 KiB each for AES-GCM.
	maxBusy = 4096
	// busyFor is how long they keep them, in ticks of 100 ms.
	busyFor = 10

	ticketKeyLife = 24 * time.Hour
	maxTicketKeys = 7
)

// Config configures a Service. All fields but Time are needed.
type Config struct {
	TLS    *tls.Config
	Memory *limit.Memory
	Tick   func() uint32    // ticks of 100 ms, never 0
	Start  func(fn func())  // starts a goroutine
	Time   func() time.Time // nil: time.Now
	// Failed is called for a handshake that a Listener's connection does; Owner.Failed for
	// others.
	Failed func(nc net.Conn, err error)
}

// Service serves TLS with one configuration, which may be replaced.
type Service struct {
	// Immutable.
	memory     *limit.Memory
	tick       func() uint32
	time       func() time.Time
	handshakes *limit.Pool

	start func(fn func())
	free  func() // debug.FreeOSMemory, but for tests
	// failed is Config.Failed.
	failed func(nc net.Conn, err error)

	garbage garbage // owned by the goroutine that calls Sweep
	busy    tlsrecord.Cache
	stats   counters
	base    atomic.Pointer[tls.Config] // for new handshakes

	mu       sync.Mutex
	keys     [][32]byte // of session tickets, the newest first. guarded by mu
	changeAt time.Time  // guarded by mu
}

// New returns a Service.
func New(cfg Config) *Service {
	s := &Service{memory: cfg.Memory, tick: cfg.Tick, time: cfg.Time, start: cfg.Start, failed: cfg.Failed, free: debug.FreeOSMemory}
	if s.time == nil {
		s.time = time.Now
	}
	s.busy.Max, s.busy.Idle = maxBusy, busyFor
	s.handshakes = limit.NewPool(maxHandshakes, cfg.Start)
	s.SetConfig(cfg.TLS)
	return s
}

// SetConfig replaces the configuration for connections that begin their handshake from
// now on. The Service uses a copy. Tickets for sessions of the old one are not accepted.
func (s *Service) SetConfig(cfg *tls.Config) {
	base := cfg.Clone()
	base.NextProtos = []string{"http/1.1"}
	base.DynamicRecordSizingDisabled = true // it is meant for web pages, and for TLS 1.2 only
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = nil
	s.addKeyLocked(base)
	s.base.Store(base)
}

// addKeyLocked makes a new key for session tickets.
func (s *Service) addKeyLocked(base *tls.Config) {
	var key [32]byte
	rand.Read(key[:])
	s.keys = append([][32]byte{key}, s.keys[:min(len(s.keys), maxTicketKeys-1)]...)
	s.changeAt = s.time().Add(ticketKeyLife)
	base.SetSessionTicketKeys(s.keys)
}

// config returns the configuration for a handshake, which must not be changed.
func (s *Service) config() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	base := s.base.Load()
	if !s.time().Before(s.changeAt) {
		s.addKeyLocked(base)
	}
	return base
}

// Secure puts a Layer on a connection that has just been accepted.
func (s *Service) Secure(c *netpoll.Conn, owner Owner) error {
	l := &Layer{service: s}
	l.handshake.Store(newHandshake(l, c, owner))
	return c.Secure(l, &l.via)
}

// Sweep gives up what connections that are not busy any more have kept, and what many
// handshakes have left. It is called every second, by one goroutine.
func (s *Service) Sweep() {
	s.busy.Sweep(s.tick())
	if s.garbage.due(s.stats.ended()) {
		s.start(s.free)
	}
}

// garbage decides when to collect the garbage of handshakes. Each leaves about 75 KiB, and a
// process that becomes idle after many of them keeps the last of it, because it allocates
// too little to start a collection.
type garbage struct {
	seen      int64 // handshakes at the last sweep
	collected int64 // handshakes at the last collection
	quiet     int   // sweeps without one
}

const (
	quietSweeps   = 5
	minHandshakes = 256 // 20 MiB of garbage: less is not worth a collection
)

// due reports whether to collect now. handshakes is the number that have ended so far.
func (g *garbage) due(handshakes int64) bool {
	if handshakes != g.seen {
		g.seen, g.quiet = handshakes, 0
		return false
	}
	g.quiet++
	if g.quiet != quietSweeps || handshakes-g.collected < minHandshakes {
		return false
	}
	g.collected = handshakes
	return true
}

// Owner owns a connection.
type Owner interface {
	// Allow is called before the handshake costs anything: with an error it does not
	// begin.
	Allow() error
	// Preface is called in the read turn with what arrives before the ClientHello, until
	// it returns how many bytes of b precede that, or an error, which ends the handshake.
	// -1: more bytes are needed, and b comes again with them. b has at least one byte.
	Preface(b []byte) (n int, err error)
	// RemoteAddr is the client's address, for GetCertificate and the like.
	RemoteAddr() netip.AddrPort
	// Failed is called once, if the handshake has failed or was not begun, unless the
	// connection ended before. The owner seals and closes the connection.
	Failed(err error)
}

// Listener returns a net.Listener that accepts from ln and whose connections are served by
// crypto/tls, for transports with a goroutine for each connection.
func (s *Service) Listener(ln net.Listener) net.Listener { return listener{ln, s} }

type listener struct {
	net.Listener
	service *Service
}

func (l listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewConn(nc, l.service.config(), func(state *tls.ConnectionState, err error) {
		l.service.stats.over(state, err)
		if err != nil && l.service.failed != nil {
			l.service.failed(nc, err)
		}
	}), nil
}
