package replay

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// quota bounds the positions in durable topics that this process stores for one user,
// and for clients of one address. A position takes room in the store for weeks, and a
// client that may choose the names of topics can acknowledge something in as many as it
// likes. Positions in inboxes, and in topics that the server chose (Subscription.Exempt),
// do not count.
//
// The memory is bounded, too: names are counted by their hashes. Two names with the same
// hash count together, which matters when some ten million positions are stored within a
// period, and a topic that looks like one that was counted is not counted.
type quota struct {
	perUser, perAddress uint32
	period              time.Duration // how long positions are stored, about

	mu        sync.Mutex
	seed      maphash.Seed
	end       time.Time // of the period; guarded by mu, as all below
	seen      []uint64  // a bit for each user and topic that was counted
	users     *counts
	addresses *counts
}

// seenBits is the size of quota.seen: 512 KiB.
const seenBits = 1 << 22

// counts has the numbers of the names with a hash, in two cells for each: the lower one
// is the better estimate. 256 KiB.
type counts [2][1 << 15]uint32

func (c *counts) cells(hash uint64) (a, b *uint32) {
	return &c[0][hash%uint64(len(c[0]))], &c[1][hash>>32%uint64(len(c[1]))]
}

func (c *counts) count(hash uint64) uint32 {
	a, b := c.cells(hash)
	return min(*a, *b)
}

// add raises the lower cell, or both.
func (c *counts) add(hash uint64) {
	a, b := c.cells(hash)
	n := min(*a, *b) + 1
	*a, *b = max(*a, n), max(*b, n)
}

// allow counts a position of a user that is to be stored, for a client at an address, and
// reports whether both may have it. The zero Addr is exempt.
func (q *quota) allow(user, topic string, addr netip.Addr, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.users == nil || !now.Before(q.end) {
		q.seed, q.end = maphash.MakeSeed(), now.Add(q.period)
		q.seen, q.users, q.addresses = make([]uint64, seenBits/64), new(counts), new(counts)
	}
	n := maphash.Comparable(q.seed, namedPosition{user, topic}) % seenBits
	word, bit := &q.seen[n/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return true
	}
	u, a := maphash.Comparable(q.seed, user), maphash.Comparable(q.seed, addr)
	if q.users.count(u) >= q.perUser || addr.IsValid() && q.addresses.count(a) >= q.perAddress {
		return false
	}
	*word |= bit
	q.users.add(u)
	if addr.IsValid() {
		q.addresses.add(a)
	}
	return true
}

type namedPosition struct{ user, topic string }

// mayStore reports whether a position of a stream may be stored. The caller holds mu.
func (s *session) mayStore(st *stream) bool {
	if st.known || st.box.Topic == "" || st.exempt {
		return true
	}
	if !s.svc.quota.allow(s.reader(st), st.box.Topic, s.receiver.Address(), s.svc.cfg.Now()) {
		s.leaveUnstored(st)
		return false
	}
	st.known, st.overQuota = true, false
	return true
}

// leaveUnstored notes that the position of a stream is not stored. The caller holds mu.
func (s *session) leaveUnstored(st *stream) {
	if st.overQuota {
		return
	}
	st.overQuota = true
	s.svc.counters.unstored.Add(1)
	s.svc.logUnstored(s.reader(st), st.box.Topic, s.receiver.Address())
}

// logUnstored logs that a position is not stored, once a minute: clients may cause as
// many as they like.
func (v *Service) logUnstored(user, topic string, addr netip.Addr) {
	now := v.cfg.Now().UnixNano()
	last := v.unstoredLogged.Load()
	if last != 0 && now-last < int64(time.Minute) || !v.unstoredLogged.CompareAndSwap(last, now) {
		return
	}
	v.cfg.Logger.Warn("position not stored", "reason", "the user or the address has the maximum number of positions; further ones are only counted",
		"user", user, "topic", topic, "address", addr)
}
