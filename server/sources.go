package server

import (
	"hash/maphash"
	"net/netip"
	"sync"
)

// sources counts what comes from each address, so that no single one takes all
// the room. IPv6 is counted by /64, which is what one subscriber has. Loopback
// and Unix sockets are not counted.
//
// Behind a load balancer every connection comes from it: for the addresses in
// Config.TrustedProxies the source is the last address in X-Forwarded-For that
// is none of them. Where there is none that can be read it is the proxy itself, on
// loopback too, so that no way through it is without a limit.
type sources struct {
	seed   maphash.Seed
	shards [64]sourceShard
}

type sourceShard struct {
	mu sync.Mutex
	m  map[netip.Addr]*source // guarded by mu
}

// source is guarded by its shard's mu.
type source struct {
	addr  netip.Addr
	open  int
	rate  bucket // of handshakes
	shard *sourceShard
}

func newSources() *sources {
	ss := &sources{seed: maphash.MakeSeed()}
	for i := range ss.shards {
		ss.shards[i].m = make(map[netip.Addr]*source)
	}
	return ss
}

// sourceOf is the address that counts for a peer, the zero Addr if none does.
func sourceOf(peer netip.Addr) netip.Addr {
	if peer.Unmap().IsLoopback() {
		return netip.Addr{}
	}
	return subscriber(peer)
}

// subscriber is the address that is counted for another, loopback or not.
func subscriber(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// enter counts one more connection from an address of sourceOf or behindProxy. ok
// is false if it has as many as it may; without a source there is no limit.
func (ss *sources) enter(addr netip.Addr, limit int) (src *source, ok bool) {
	if !addr.IsValid() {
		return nil, true
	}
	sh := &ss.shards[maphash.Comparable(ss.seed, addr)%uint64(len(ss.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	src = sh.m[addr]
	if src == nil {
		src = &source{addr: addr, shard: sh}
		sh.m[addr] = src
	}
	if src.open >= limit {
		return nil, false
	}
	src.open++
	return src, true
}

func (ss *sources) leave(src *source) {
	if src == nil {
		return
	}
	src.shard.mu.Lock()
	src.open--
	src.shard.mu.Unlock()
}

// shake counts a handshake, and reports whether the source may have one more.
func (src *source) shake(rate int, now uint32) bool {
	if src == nil {
		return true
	}
	src.shard.mu.Lock()
	defer src.shard.mu.Unlock()
	return src.rate.take(1, rate, now)
}

// sweep forgets the sources that have no connection and whose bucket is full
// again, so that a source does not get a new one by leaving.
func (ss *sources) sweep(now uint32) {
	for i := range ss.shards {
		sh := &ss.shards[i]
		sh.mu.Lock()
		for addr, src := range sh.m {
			if src.open == 0 && now-src.rate.last >= burst*ticksPerSecond {
				delete(sh.m, addr)
			}
		}
		sh.mu.Unlock()
	}
}

// screen is the check of a complete request against the rates of handshakes, and
// against the connections of its source where a proxy hides it until here.
func (srv *Server) screen(s *Session, r *Request) error {
	if s.source == nil && len(srv.cfg.TrustedProxies) > 0 {
		if peer := s.RemoteAddr().Addr(); srv.trusted(peer) {
			src, err := srv.enter(srv.behindProxy(peer, r))
			if err != nil {
				return err
			}
			s.source = src
		}
	}
	return srv.pace(s.source)
}

// enter counts a connection of which the request is known.
func (srv *Server) enter(addr netip.Addr) (*source, error) {
	src, ok := srv.sources.enter(addr, srv.cfg.ConnectionsPerIP)
	if !ok {
		srv.stats.crowded.Add(1)
		return nil, &Refusal{Status: 429, Text: "too many connections from this address", header: "Retry-After: 30\r\n"}
	}
	return src, nil
}

// pace counts a handshake.
func (srv *Server) pace(src *source) error {
	now := srv.tick.Load()
	if !src.shake(srv.cfg.HandshakesPerIP, now) {
		srv.stats.hurried.Add(1)
		return &Refusal{Status: 429, Text: "too many handshakes from this address", header: "Retry-After: 5\r\n"}
	}
	srv.shakeMu.Lock()
	ok := srv.shakes.take(1, srv.cfg.HandshakeRate, now)
	srv.shakeMu.Unlock()
	if !ok {
		srv.stats.hurried.Add(1)
		return &Refusal{Status: 503, Text: "too many handshakes at once", header: "Retry-After: 1\r\n"}
	}
	return nil
}

// admits decides about a connection that has just arrived from peer.
func (srv *Server) admits(peer netip.Addr) (src *source, ok bool) {
	if srv.pressed.Load() {
		srv.stats.pressed.Add(1)
		return nil, false
	}
	if srv.trusted(peer) {
		return nil, true // its request will say who it is
	}
	if src, ok = srv.sources.enter(sourceOf(peer), srv.cfg.ConnectionsPerIP); !ok {
		srv.stats.crowded.Add(1)
	}
	return src, ok
}

func (srv *Server) trusted(addr netip.Addr) bool {
	for _, p := range srv.cfg.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// behindProxy is the address that counts for a request that a trusted proxy has
// passed on: that of the client, or of the proxy if it does not say.
func (srv *Server) behindProxy(proxy netip.Addr, r *Request) netip.Addr {
	if client := srv.forwarded(r); client.IsValid() {
		return subscriber(client)
	}
	return subscriber(proxy)
}

// forwarded is the last address in X-Forwarded-For that is no trusted proxy: what
// stands before it was said by somebody whom nobody vouches for. It is the zero
// Addr if there is none, or no address in that place.
func (srv *Server) forwarded(r *Request) (last netip.Addr) {
	for member := range r.list("X-Forwarded-For") {
		if addr := parsePeer(string(member)).Addr(); !srv.trusted(addr) {
			last = addr
		}
	}
	return last
}

// depart takes a connection out of the counts.
func (srv *Server) depart(s *Session) {
	srv.sources.leave(s.source)
	srv.connections.Add(-1)
}
