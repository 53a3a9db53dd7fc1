package limit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Sources counts the connections and handshakes of each address, so that a single one
// cannot take all the room. See CountedAddr for what an address is.
type Sources struct {
	seed   maphash.Seed
	shards [64]sourceShard
}

type sourceShard struct {
	mu sync.Mutex
	m  map[netip.Addr]*Source // guarded by mu
}

// Source is one address. A nil *Source stands for connections that are not counted.
type Source struct {
	// Immutable.
	addr  netip.Addr
	shard *sourceShard

	// Guarded by shard.mu.
	open       int
	handshakes Bucket
	retry      RetryAfter
}

// NewSources returns an empty Sources.
func NewSources() *Sources {
	ss := &Sources{seed: maphash.MakeSeed()}
	for i := range ss.shards {
		ss.shards[i].m = make(map[netip.Addr]*Source)
	}
	return ss
}

// CountedAddr returns the address under which a client is counted: IPv6 by /64, which is
// what one subscriber has.
func CountedAddr(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// PeerAddr is CountedAddr for the peer of a connection. Loopback and Unix sockets are
// exempt: for them it returns the zero Addr.
func PeerAddr(peer netip.Addr) netip.Addr {
	if peer.Unmap().IsLoopback() {
		return netip.Addr{}
	}
	return CountedAddr(peer)
}

// Enter counts one more connection from addr. It reports false if the address has
// limit connections already. The zero Addr has no limit and a nil Source.
func (ss *Sources) Enter(addr netip.Addr, limit int) (src *Source, ok bool) {
	if !addr.IsValid() {
		return nil, true
	}
	sh := &ss.shards[maphash.Comparable(ss.seed, addr)%uint64(len(ss.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	src = sh.m[addr]
	if src == nil {
		src = &Source{addr: addr, shard: sh}
		sh.m[addr] = src
	}
	if src.open >= limit {
		return nil, false
	}
	src.open++
	return src, true
}

// Addr returns the counted address.
func (src *Source) Addr() netip.Addr { return src.addr }

// Leave takes back one Enter.
func (src *Source) Leave() {
	if src == nil {
		return
	}
	src.shard.mu.Lock()
	src.open--
	src.shard.mu.Unlock()
}

// Handshake counts a handshake, and reports whether rate per second permits it. If not,
// it returns the time after which to try again, see RetryAfter.
func (src *Source) Handshake(rate int, now uint32) (wait time.Duration, ok bool) {
	if src == nil {
		return 0, true
	}
	src.shard.mu.Lock()
	defer src.shard.mu.Unlock()
	if src.handshakes.Take(1, int64(rate), now) {
		return 0, true
	}
	return src.retry.Next(&src.handshakes, int64(rate), now), false
}

// Sweep forgets sources without connections. It keeps those whose bucket may not be
// full, because a source would otherwise get a full one by leaving.
func (ss *Sources) Sweep(now uint32) {
	for i := range ss.shards {
		sh := &ss.shards[i]
		sh.mu.Lock()
		for addr, src := range sh.m {
			if src.open == 0 && now-src.handshakes.last >= Burst*TicksPerSecond {
				delete(sh.m, addr)
			}
		}
		sh.mu.Unlock()
	}
}
