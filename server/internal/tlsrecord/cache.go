package tlsrecord

import (
	"crypto/cipher"
	"sync"
	"sync/atomic"
)

// Cache keeps the AEADs of busy connections. One of AES-GCM takes about 1 KiB, far more
// than the key from which it is built, and building it takes two allocations and as long
// as encrypting a small record. A connection's AEADs are kept when one is needed for
// the second time within Idle, and dropped when none was used for that long. The zero value
// keeps none.
//
// Times are ticks of the caller's clock.
type Cache struct {
	Max  int    // how many connections' AEADs are kept
	Idle uint32 // ticks

	mu   sync.Mutex
	list []*Conn // guarded by mu
}

// kept are the AEADs of one connection.
type kept struct {
	in, out cipher.AEAD // owned by the reader and the writer; nil: not built yet
	used    atomic.Uint32
}

// keep returns the kept AEADs of c, which may be none, or nil if the cache is full.
func (k *Cache) keep(c *Conn) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.kept.Load() == nil && len(k.list) < k.Max {
		c.kept.Store(new(kept))
		k.list = append(k.list, c)
	}
	return c.kept.Load()
}

// Sweep drops the AEADs that were not used for Idle ticks.
func (k *Cache) Sweep(now uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := k.list[:0]
	for _, c := range k.list {
		switch p := c.kept.Load(); {
		case p == nil: // erased
		case now-p.used.Load() > k.Idle:
			c.kept.Store(nil)
		default:
			left = append(left, c)
		}
	}
	clear(k.list[len(left):])
	if k.list = left; len(left) == 0 {
		k.list = nil
	}
}

// Len returns how many connections' AEADs are kept.
func (k *Cache) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.list)
}

// aead returns the AEAD of a direction: the one that is kept, or a new one.
func (c *Conn) aead(k *Cache, now uint32, d *direction) cipher.AEAD {
	p := c.kept.Load()
	if p == nil {
		if now-d.builtAt > k.Idle || d.builtAt == 0 {
			d.builtAt = now
			return c.build(d)
		}
		if p = k.keep(c); p == nil {
			return c.build(d)
		}
	}
	if p.used.Load() != now {
		p.used.Store(now)
	}
	slot := p.slot(c, d)
	if *slot == nil {
		*slot = c.build(d)
	}
	return *slot
}

// forget drops the kept AEAD of a direction whose key has changed.
func (c *Conn) forget(d *direction) {
	if p := c.kept.Load(); p != nil {
		*p.slot(c, d) = nil
	}
}

func (p *kept) slot(c *Conn, d *direction) *cipher.AEAD {
	if d == &c.in {
		return &p.in
	}
	return &p.out
}
