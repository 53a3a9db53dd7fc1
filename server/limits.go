package server

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// accept returns the session of a connection that has been accepted.
func (srv *Server) accept(peer netip.AddrPort) (*netpoll.Conn, netpoll.Handler) {
	src, ok := srv.limitConnection(peer.Addr())
	if !ok {
		return nil, nil
	}
	s := srv.newSession(srv.unrouted)
	if s == nil {
		src.Leave()
		srv.rejectLog.Note(handshake.ErrFull, peer.Addr(), nil)
		return nil, nil
	}
	s.source = src
	if srv.announces(peer.Addr()) {
		s.state.Store(uint32(readingProxyHeader) << phaseShift)
	}
	s.arm(srv.live().HandshakeTimeout)
	return &s.conn, handler{s}
}

// newSession returns nil when the server is full.
func (srv *Server) newSession(ep *endpoint) *Session {
	if srv.connections.Add(1) > int64(srv.live().MaxConnections) {
		srv.connections.Add(-1)
		srv.stats.Full.Add(1)
		return nil
	}
	s := new(Session)
	s.ep.Store(ep)
	s.state.Store(uint32(readingRequest) << phaseShift)
	s.heard.Store(srv.tick.Load())
	return s
}

// fewDescriptors is the limit that a production server should have.
const fewDescriptors = 4096

// warnAboutDescriptors logs a warning if the descriptor limit has room for fewer
// connections than the operator has asked for, or most likely wants.
func warnAboutDescriptors(cfg *Config, d limit.Descriptors) {
	const advice = "raise the limit on open files: ulimit -n, LimitNOFILE of systemd, --ulimit nofile of docker"
	switch {
	case d.Open == 0:
	case cfg.MaxConnections > d.Public:
		cfg.Logger.Warn("too few file descriptors for MaxConnections", "asked", cfg.MaxConnections, "max_connections", d.Public, "descriptors", d.Open, "advice", advice)
	case d.Open < fewDescriptors && cfg.MaxConnections == d.Public:
		cfg.Logger.Warn("few file descriptors", "max_connections", d.Public, "descriptors", d.Open, "advice", advice)
	}
}

// withinDescriptors returns the number of connections that was asked for, or that for which
// there are descriptors: more would take those of the store.
func withinDescriptors(asked int, d limit.Descriptors) int {
	if d.Open == 0 {
		return asked
	}
	return min(asked, d.Public)
}

// limitConnection counts a connection that was just accepted from peer. It returns false if
// the connection exceeds a limit.
func (srv *Server) limitConnection(peer netip.Addr) (src *limit.Source, ok bool) {
	if srv.memory.Short() {
		srv.stats.ShortOfMemory.Add(1)
		srv.rejectLog.Note(handshake.ErrFull, peer, nil)
		return nil, false
	}
	if srv.announces(peer) || srv.trusted(peer) {
		return nil, true // its header, or its request, will name the client
	}
	if src, ok = srv.sources.Enter(limit.PeerAddr(peer), srv.live().ConnectionsPerIP); !ok {
		srv.stats.AddressFull.Add(1)
		srv.rejectLog.Note(handshake.ErrAddressFull, peer, nil)
	}
	return src, ok
}

// limitHandshake checks a complete request against the rates of handshakes, and, if it came
// through a proxy, against the connections of the client's address.
func (srv *Server) limitHandshake(s *Session, r *Request) error {
	counted := s.securedByUs() // before the TLS handshake
	if s.source == nil && len(srv.live().TrustedProxies) > 0 {
		if peer := s.RemoteAddr().Addr(); srv.trusted(peer) {
			addr, err := srv.clientAddress(r, peer)
			if err != nil {
				return err
			}
			src, err := srv.enterSource(addr)
			if err != nil {
				return err
			}
			s.source, counted = src, false
		}
	}
	if counted {
		return nil
	}
	return srv.countHandshake(s.source)
}

// enterSource counts a connection whose request is known.
func (srv *Server) enterSource(addr netip.Addr) (*limit.Source, error) {
	src, ok := srv.sources.Enter(addr, srv.live().ConnectionsPerIP)
	if !ok {
		srv.stats.AddressFull.Add(1)
		return nil, handshake.ErrAddressFull
	}
	return src, nil
}

// countHandshake counts a handshake.
func (srv *Server) countHandshake(src *limit.Source) error {
	now := srv.tick.Load()
	if wait, ok := src.Handshake(srv.live().HandshakesPerIP, now); !ok {
		srv.stats.HandshakeRate.Add(1)
		return handshake.After(handshake.ErrAddressRate, wait)
	}
	if wait, ok := srv.handshakeGate.Take(int64(srv.live().HandshakeRate), now); !ok {
		srv.stats.HandshakeRate.Add(1)
		return handshake.After(handshake.ErrHandshakeRate, wait)
	}
	return nil
}

func (srv *Server) trusted(addr netip.Addr) bool {
	return limit.Proxies(srv.live().TrustedProxies).Contain(addr)
}

// clientAddress takes from a request the client that a trusted proxy names in
// X-Forwarded-For or Forwarded, and returns the address under which the request is counted:
// the client's, or the proxy's if it does not name one. Unlike elsewhere loopback addresses
// count, so that every way through a proxy is limited.
//
// Only the field of Config.Forwarded is read: proxies that write one of them pass on what the
// client has sent in the other.
func (srv *Server) clientAddress(r *Request, proxy netip.Addr) (netip.Addr, error) {
	r.proxied = true
	proxies := limit.Proxies(srv.live().TrustedProxies)
	if srv.live().Forwarded {
		hops, err := r.head.Forwarded()
		if err != nil {
			return netip.Addr{}, err
		}
		r.client = proxies.Client(func(yield func([]byte) bool) {
			for _, hop := range hops {
				if !yield([]byte(hop.For)) {
					return
				}
			}
		})
	} else {
		r.client = proxies.Client(r.head.List("X-Forwarded-For"))
	}
	if r.client.IsValid() {
		return limit.CountedAddr(r.client.Addr()), nil
	}
	return limit.CountedAddr(proxy), nil
}

// appendForwardedHosts appends the hosts that the request was sent to, as trusted proxies say
// that have replaced the Host field. A page cannot set these fields.
func (srv *Server) appendForwardedHosts(hosts [][]byte, r *Request) [][]byte {
	if !srv.live().Forwarded {
		for host := range r.head.List("X-Forwarded-Host") {
			hosts = append(hosts, host)
		}
		return hosts
	}
	hops, _ := r.head.Forwarded() // clientAddress has returned the error
	for _, hop := range hops {
		if hop.Host != "" {
			hosts = append(hosts, []byte(hop.Host))
		}
	}
	return hosts
}

// errShortOfMemory is 1013, "try again later".
var errShortOfMemory = &frame.CloseError{Code: frame.StatusTryAgainLater, Reason: "the server is short of memory"}

// uncount takes a connection out of the counts.
func (srv *Server) uncount(s *Session) {
	s.source.Leave()
	srv.connections.Add(-1)
}

// SessionsFull says what happens when a user who has Config.SessionsPerUser sessions
// opens another one.
type SessionsFull uint8

const (
	// SessionsReject rejects the handshake with 429. The sessions that the user has
	// are pinged, so that a session whose client has vanished makes room after
	// Config.PingTimeout.
	SessionsReject SessionsFull = iota
	// SessionsCloseOldest closes the user's oldest session with 1008.
	SessionsCloseOldest
)

// ParseSessionsFull reads "reject" or "close-oldest", for programs that take the policy from
// a flag or a file.
func ParseSessionsFull(s string) (SessionsFull, error) {
	switch s {
	case "reject":
		return SessionsReject, nil
	case "close-oldest":
		return SessionsCloseOldest, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want reject or close-oldest", s)
}

// departure is a session that has left the registry, with the topics that it had if something
// is to learn of them.
type departure struct {
	session *Session
	topics  []string
}

// makeRoom enters s in the registry for a user that has Config.SessionsPerUser sessions, as
// Config.SessionsFull says, or returns the rejection. The sessions whose places were taken
// have left the registry, and are to be closed.
func (srv *Server) makeRoom(user string, s *Session) (replaced []departure, topics []string, err error) {
	var buf [16]*Session
	others := srv.users.AppendUser(buf[:0], user)
	if srv.live().SessionsFull != SessionsCloseOldest {
		return nil, nil, handshake.ErrUserFull
	}
	// Another new session of the user may take the place, but each of them takes that of a
	// session that is older than itself.
	for range len(others) + 1 {
		oldest := oldestOf(others)
		if oldest == nil {
			break
		}
		left := srv.leaveLocked(oldest)
		topics = append(topics, left...)
		replaced = append(replaced, departure{oldest, left})
		if srv.users.Join(user, s) == nil {
			return replaced, topics, nil
		}
		others = srv.users.AppendUser(others[:0], user)
	}
	return replaced, topics, handshake.ErrUserFull
}

// userFull returns the rejection of a session of a user that has too many. It finds out
// which of them are dead.
func (srv *Server) userFull(user string) error {
	if srv.live().SessionsFull == SessionsCloseOldest {
		return handshake.ErrUserFull
	}
	wait := ticks(srv.live().PingTimeout)
	for _, other := range srv.users.AppendUser(nil, user) {
		wait = min(wait, other.probe())
	}
	return handshake.After(handshake.ErrUserFull, time.Duration(wait)*tick)
}

// oldestOf returns the oldest session that is open, nil if none is.
func oldestOf(sessions []*Session) (oldest *Session) {
	for _, s := range sessions {
		if s.phase() == open && (oldest == nil || s.opened < oldest.opened || s.opened == oldest.opened && s.ID() < oldest.ID()) {
			oldest = s
		}
	}
	return oldest
}

// probe pings a session that has been silent, out of turn, so that a missed heartbeat is
// found after Config.PingTimeout. It returns the ticks until then.
func (s *Session) probe() (wait uint32) {
	srv := s.srv()
	now, heard, pinged := srv.tick.Load(), s.heard.Load(), s.pinged.Load()
	timeout := ticks(srv.live().PingTimeout)
	if pinged > heard {
		return timeout - min(now-pinged, timeout)
	}
	if s.phase() != open || now == heard || !s.pinged.CompareAndSwap(pinged, now) {
		return timeout
	}
	srv.stats.Pings.Add(1)
	s.outcome(s.conn.Write(s.heartbeatFrame(), netpoll.Control))
	s.armHeartbeat(timeout)
	return timeout
}

// Rate limits what one session may send. A session that exceeds it is closed with
// 1008. The zero value is the default.
type Rate struct {
	// Messages per second, control frames included. 0: 100, far more than a person or
	// a client sends to a push server.
	Messages int
	// Bytes per second, those of headers and empty fragments included; a compressed
	// message counts as what it inflates to, if that is more. 0: 256 KiB. A session
	// that was quiet may send ten times as many at once, and in any case one message
	// of Rules.MaxMessage.
	Bytes int
	// Unlimited switches the limits off, UnlimitedOnLoopback does where Config.Listen
	// is loopback or a Unix socket.
	Unlimited, UnlimitedOnLoopback bool
}

func (r *Rate) validate() error {
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{{"Rate.Messages", &r.Messages, 100}, {"Rate.Bytes", &r.Bytes, 256 << 10}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 || int64(*f.v) > limit.MaxRate {
			return field.Errorf(f.name, "is %d: want 1 to %d", *f.v, int64(limit.MaxRate))
		}
	}
	return nil
}

// rates returns the limits of a session of ep. A message of MaxMessage must pass, with its
// headers, and an eighth longer if deflate has not compressed it.
func (ep *endpoint) rates() limit.Rates {
	rate := ep.rate.Load()
	bytes := int64(rate.Bytes)
	longest := int64(cmp.Or(ep.Rules.MaxMessage, frame.DefaultMaxMessage))
	return limit.Rates{
		Messages: int64(rate.Messages),
		Bytes:    bytes,
		AtOnce:   max(bytes*limit.Burst, longest+longest/8+1<<10),
	}
}

var errOverRate = &frame.CloseError{Code: frame.StatusPolicyViolation, Reason: "too much at once"}

// overRate closes a session that exceeds its endpoint's Rate.
func (s *Session) overRate() {
	s.srv().stats.OverRate.Add(1)
	s.fail(errOverRate)
}

// metered returns the meter for a read of n bytes. It returns nil if the read is free:
// where there is no limit, and for bytes that may be the answer to a ping, so that an idle
// session needs no meter.
func (s *Session) metered(ep *endpoint, n int, now, heard uint32) *limit.Meter {
	if ep.rate.Load().Unlimited && !s.ownRate() || n <= maxPong && s.pinged.Load() >= heard && s.pinged.Load() != 0 {
		return nil
	}
	return &s.extend().meter
}

// maxPong is the length of the longest pong.
const maxPong = 2 + 4 + 125

// rates returns the limits of a session that is metered, see Endpoint.rates.
func (s *Session) rates(ep *endpoint) limit.Rates {
	r := ep.rates()
	x := s.ext.Load()
	if x == nil {
		return r
	}
	most := int64(x.maxMessages.Load())
	switch {
	case most == 0:
	case ep.rate.Load().Unlimited:
		return limit.Rates{Messages: most, Bytes: limit.MaxRate, AtOnce: limit.MaxRate}
	default:
		r.Messages = min(r.Messages, most)
	}
	return r
}

// ownRate reports whether the session has a rate of its own.
func (s *Session) ownRate() bool {
	x := s.ext.Load()
	return x != nil && x.maxMessages.Load() > 0
}
