package cluster

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server"
)

// Users and topics are hashed into buckets, and a node subscribes to the buckets
// in which it holds something. A node thus receives some commands that are not for
// it, and in exchange says what it holds in 256 bytes.

// Buckets is the number of buckets of users, and as many of topics. A load
// balancer that sends users of one bucket to few nodes saves messages; see Bucket.
const Buckets = 1024

// Bucket returns the bucket of a user or topic, 0 to Buckets-1: the FNV-1a hash of
// the name, 32 bits, modulo Buckets.
func Bucket(name string) int {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return int(h % Buckets)
}

// target is a bucket of users, Buckets plus one of topics, or everyone.
type target int

const everyone target = -1

func targetOf(t server.Target) target {
	switch {
	case t.User != "":
		return target(Bucket(t.User))
	case t.Topic != "":
		return target(Buckets + Bucket(t.Topic))
	}
	return everyone
}

func (t target) subject() string {
	switch {
	case t == everyone:
		return everySubject
	case t < Buckets:
		return prefix + "user." + strconv.Itoa(int(t))
	}
	return prefix + "topic." + strconv.Itoa(int(t)-Buckets)
}

// bitmap has a bit for each bucket.
type bitmap [2 * Buckets / 8]byte

func (b *bitmap) set(t target)      { b[t/8] |= 1 << (t % 8) }
func (b *bitmap) has(t target) bool { return b[t/8]&(1<<(t%8)) != 0 }

// interest records the buckets that this node wants to receive. Hold and Release change this
// state without waiting; the sender makes the subscriptions follow later.
type interest struct {
	version atomic.Uint64 // counts changes that need a subscription
	dirty   [2 * Buckets / 64]atomic.Uint64
	buckets [2 * Buckets]bucket
}

type bucket struct {
	// Guarded by mu, except that the sender owns sub.
	mu         sync.Mutex
	holds      int
	subscribed bool
	version    uint64    // interest.version of the subscription
	idle       time.Time // when holds became 0

	sub *nats.Subscription // owned by the sender
}

// linger is how long a subscription outlives the last Release: a user who
// reconnects costs NATS nothing.
const linger = 10 * time.Second

func (in *interest) mark(t target) { in.dirty[t/64].Or(1 << (t % 64)) }

// Hold announces interest in a user or topic, once more. It does not wait.
func (c *Cluster) Hold(to server.Target) {
	t := targetOf(to)
	if t == everyone {
		return // every node has it
	}
	b := &c.buckets.buckets[t]
	b.mu.Lock()
	b.holds++
	first := b.holds == 1
	subscribe := first && !b.subscribed
	if subscribe {
		b.subscribed = true
		// The mark comes before the version, so that the sender, which reads them
		// in the other order, never takes this version for subscribed too early.
		c.buckets.mark(t)
		b.version = c.buckets.version.Add(1)
	}
	b.mu.Unlock()
	if subscribe {
		c.out.wake()
	}
	if first {
		c.links.interestChanged()
	}
}

// Release withdraws interest once. It does not wait.
func (c *Cluster) Release(to server.Target) {
	t := targetOf(to)
	if t == everyone {
		return
	}
	b := &c.buckets.buckets[t]
	b.mu.Lock()
	if b.holds == 0 {
		b.mu.Unlock()
		panic(fmt.Sprintf("BUG: cluster: Release of %+v without Hold", to))
	}
	b.holds--
	last := b.holds == 0
	if last {
		b.idle = c.now()
	}
	b.mu.Unlock()
	if last {
		c.links.interestChanged()
	}
}

// Shared reports whether another live node is known to hold the target.
func (c *Cluster) Shared(to server.Target) bool {
	return c.peers.shared(targetOf(to), c.now())
}

// held returns the buckets that this node holds.
func (in *interest) held() (held bitmap) {
	for i := range in.buckets {
		b := &in.buckets[i]
		b.mu.Lock()
		if b.holds > 0 {
			held.set(target(i))
		}
		b.mu.Unlock()
	}
	return held
}

// follow subscribes to marked buckets that are wanted, and unsubscribes from those
// that are not. It returns the version that is subscribed. Only the sender calls it.
func (in *interest) follow(nc *nats.Conn, to chan *nats.Msg) (version uint64, err error) {
	version = in.version.Load()
	for i := range in.dirty {
		if in.dirty[i].Load() == 0 {
			continue
		}
		word := in.dirty[i].Swap(0)
		for n := range 64 {
			if word&(1<<n) == 0 {
				continue
			}
			t := target(64*i + n)
			if e := in.buckets[t].follow(nc, t, to); e != nil {
				err = e
				in.mark(t)
			}
		}
	}
	return version, err
}

func (b *bucket) follow(nc *nats.Conn, t target, to chan *nats.Msg) (err error) {
	b.mu.Lock()
	subscribe, unsubscribe := b.subscribed && b.sub == nil, !b.subscribed && b.sub != nil
	b.mu.Unlock()
	switch {
	case subscribe:
		b.sub, err = nc.ChanSubscribe(t.subject(), to)
	case unsubscribe:
		b.sub.Unsubscribe()
		b.sub = nil
	}
	return err
}

// sweep gives up the subscriptions of buckets that have not been held for a while.
func (in *interest) sweep(now time.Time) (found bool) {
	for i := range in.buckets {
		b := &in.buckets[i]
		b.mu.Lock()
		if b.subscribed && b.holds == 0 && now.Sub(b.idle) > linger {
			b.subscribed = false
			in.mark(target(i))
			found = true
		}
		b.mu.Unlock()
	}
	return found
}

// renew marks the buckets that are wanted and whose subscription ended with an earlier
// connection, so that they are subscribed on the new one. The sender may have subscribed
// others on it already. Only the sender calls it.
func (in *interest) renew() {
	for i := range in.buckets {
		b := &in.buckets[i]
		if b.sub != nil && b.sub.IsValid() {
			continue
		}
		b.sub = nil
		b.mu.Lock()
		if b.subscribed {
			in.mark(target(i))
			b.version = in.version.Add(1)
		}
		b.mu.Unlock()
	}
}
