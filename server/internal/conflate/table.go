package conflate

import (
	"sync"
	"sync/atomic"
	"time"

	"fanfare/netpoll"
	"fanfare/registry"
)

// SlotCost is what a slot costs, in bytes, with its share of the maps.
const SlotCost = 256

// shards is the number of locks. The sessions of one are served one after the other.
const shards = 64

// Config is what a Table needs. M is a message, with what it takes to send it.
type Config[S comparable, M any] struct {
	// Write sends a message. It is called with a lock held, and must not call the Table.
	Write func(S, M) netpoll.Outcome
	// Failed is called by Step, without a lock, for a message that was not delivered.
	Failed func(S, netpoll.Outcome)
	// Open reports whether a message may wait for the session: Flush or Drop follows when
	// that has become false.
	Open func(S) bool
	// Hash spreads sessions over shards.
	Hash func(S) uint64
	// Size is the length of a message in bytes.
	Size func(M) int
	// Budget bounds what the slots of a session cost, with the messages that wait.
	Budget int
}

// Stats are counters, but for Waiting.
type Stats struct {
	Waiting  int64 // messages that wait now
	Replaced int64 // messages that a newer one has replaced while they waited
	Early    int64 // messages sent before their time, because of Config.Budget
}

// Table has the slots of the sessions of a server. Its methods may be called by any goroutine;
// there is one call of Step at a time.
type Table[S comparable, M any] struct {
	cfg    Config[S, M]
	tick   time.Duration
	wheel  *registry.Wheel[*slot[S, M]]
	shards [shards]shard[S, M]

	// Atomic.
	count                    atomic.Int64 // slots
	waiting, replaced, early atomic.Int64
}

type shard[S comparable, M any] struct {
	mu     sync.Mutex
	slots  map[key[S]]*slot[S, M]
	owners map[S]*owner[S, M]
	began  uint64 // slots that have begun to wait

	due []*slot[S, M] // of Step
}

type key[S comparable] struct {
	session S
	name    netpoll.Key
}

// owner has the slots of a session: in a list, of which those in which a message waits are the
// end, in the order in which they began to wait.
type owner[S comparable, M any] struct {
	first, last *slot[S, M]
	cost        int
}

// slot is a name of a session. All but the timer is guarded by the lock of the shard.
type slot[S comparable, M any] struct {
	timer      registry.Timer[*slot[S, M]]
	key        key[S]
	owner      *owner[S, M] // nil: the slot is forgotten
	prev, next *slot[S, M]  // in the list of the owner

	sent     time.Duration // when a message was last sent
	interval time.Duration // of the newest message; 0: the slot is new
	began    uint64        // a number that grows: when the slot began to wait; 0: nothing waits
	message  M             // waits
}

func (sl *slot[S, M]) due() time.Duration { return sl.sent + sl.interval }

// NewTable returns a Table whose Step is called every tick, while Len is not 0.
func NewTable[S comparable, M any](cfg Config[S, M], tick time.Duration, wheelSlots int) *Table[S, M] {
	timer := func(sl *slot[S, M]) *registry.Timer[*slot[S, M]] { return &sl.timer }
	return &Table[S, M]{cfg: cfg, tick: tick, wheel: registry.NewWheel(timer, tick, wheelSlots)}
}

// Len returns the number of slots.
func (t *Table[S, M]) Len() int { return int(t.count.Load()) }

// Stats returns the counters.
func (t *Table[S, M]) Stats() Stats {
	return Stats{Waiting: t.waiting.Load(), Replaced: t.replaced.Load(), Early: t.early.Load()}
}

func (t *Table[S, M]) shard(s S) *shard[S, M] { return &t.shards[t.cfg.Hash(s)%shards] }

// Offer sends a message, or has it wait, which it reports as Queued. An interval of 0 means
// that the message may be sent at any time.
func (t *Table[S, M]) Offer(s S, name netpoll.Key, m M, interval, now time.Duration) netpoll.Outcome {
	sh, k := t.shard(s), key[S]{s, name}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sl := sh.slots[k]
	if sl != nil && interval > 0 && now < sl.sent+interval {
		switch {
		case !t.cfg.Open(s): // Flush has been called, or is about to be
			return netpoll.Gone
		case t.fits(sl.owner, sl, t.cfg.Size(m)):
			t.wait(sh, sl, m, interval)
			return netpoll.Queued
		}
		t.early.Add(1)
	}
	o := t.cfg.Write(s, m)
	switch {
	case !o.Delivered(): // an older message that waits is the newest now
	case sl != nil:
		if sl.began != 0 {
			t.replaced.Add(1)
			t.release(sl)
		}
		if interval > 0 {
			t.noteSent(sl, now, interval)
		}
	case interval > 0 && t.cfg.Open(s):
		if own := sh.owners[s]; t.fits(own, nil, 0) {
			t.noteSent(t.newSlot(sh, own, k), now, interval)
		} else {
			t.early.Add(1)
		}
	}
	return o
}

// fits reports whether the budget has room for a message of n bytes in a slot, which is nil if
// it is a new one.
func (t *Table[S, M]) fits(own *owner[S, M], sl *slot[S, M], n int) bool {
	cost := SlotCost + n
	if own != nil {
		cost = own.cost + n
		if sl == nil {
			cost += SlotCost
		} else if sl.began != 0 {
			cost -= t.cfg.Size(sl.message)
		}
	}
	return cost <= t.cfg.Budget
}

// wait has a message wait in a slot.
func (t *Table[S, M]) wait(sh *shard[S, M], sl *slot[S, M], m M, interval time.Duration) {
	if sl.began == 0 {
		sh.began++
		sl.began = sh.began
		sl.owner.unlink(sl)
		sl.owner.append(sl)
		t.waiting.Add(1)
	} else {
		t.replaced.Add(1)
		sl.owner.cost -= t.cfg.Size(sl.message)
	}
	sl.message = m
	sl.owner.cost += t.cfg.Size(m)
	if interval != sl.interval {
		sl.interval = interval
		t.wheel.Schedule(sl, sl.due())
	}
}

// release empties a slot in which a message waits.
func (t *Table[S, M]) release(sl *slot[S, M]) {
	var none M
	sl.owner.cost -= t.cfg.Size(sl.message)
	sl.message, sl.began = none, 0
	t.waiting.Add(-1)
	sl.owner.unlink(sl)
	sl.owner.prepend(sl)
}

// noteSent notes that a message with an interval was sent. If it was late, by a tick at most, the
// next one is due as if it had not been: what ticks cost must not add up.
func (t *Table[S, M]) noteSent(sl *slot[S, M], now, interval time.Duration) {
	if due := sl.sent + interval; sl.interval == 0 || now < due {
		sl.sent = now
	} else {
		sl.sent = max(due, now-t.tick)
	}
	sl.interval = interval
	t.wheel.Schedule(sl, sl.due())
}

func (t *Table[S, M]) newSlot(sh *shard[S, M], own *owner[S, M], k key[S]) *slot[S, M] {
	if own == nil {
		own = new(owner[S, M])
		if sh.owners == nil {
			sh.owners, sh.slots = make(map[S]*owner[S, M]), make(map[key[S]]*slot[S, M])
		}
		sh.owners[k.session] = own
	}
	sl := &slot[S, M]{key: k, owner: own}
	own.prepend(sl)
	own.cost += SlotCost
	sh.slots[k] = sl
	t.count.Add(1)
	return sl
}

// forget removes a slot in which nothing waits.
func (t *Table[S, M]) forget(sh *shard[S, M], sl *slot[S, M]) {
	own := sl.owner
	t.wheel.Stop(sl)
	own.unlink(sl)
	own.cost -= SlotCost
	sl.owner = nil
	delete(sh.slots, sl.key)
	if own.first == nil {
		delete(sh.owners, sl.key.session)
	}
	if len(sh.slots) == 0 {
		sh.slots, sh.owners = nil, nil // a map does not shrink
	}
	t.count.Add(-1)
}

func (own *owner[S, M]) append(sl *slot[S, M]) {
	sl.prev, sl.next = own.last, nil
	if own.last == nil {
		own.first = sl
	} else {
		own.last.next = sl
	}
	own.last = sl
}

func (own *owner[S, M]) prepend(sl *slot[S, M]) {
	sl.prev, sl.next = nil, own.first
	if own.first == nil {
		own.last = sl
	} else {
		own.first.prev = sl
	}
	own.first = sl
}

func (own *owner[S, M]) unlink(sl *slot[S, M]) {
	if sl.prev == nil {
		own.first = sl.next
	} else {
		sl.prev.next = sl.next
	}
	if sl.next == nil {
		own.last = sl.prev
	} else {
		sl.next.prev = sl.prev
	}
	sl.prev, sl.next = nil, nil
}
