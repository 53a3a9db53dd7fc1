package inbox

import (
	"hash/maphash"
	"sync"
)

// ledger remembers the end of boxes that this node appended to, and lets their
// Appends pass one after another, in the order in which they came.
//
// It is a cache: what it says is checked by the stream with each Append (expected
// last sequence), so that a wrong entry costs one more round.
type ledger struct {
	seed   maphash.Seed
	shards [64]ledgerShard
}

type ledgerShard struct {
	mu    sync.Mutex
	tails map[Box]*tail // guarded by mu
}

// ledgerMost: 64 shards of 1024 entries, about 200 bytes each with the name, are
// 13 MiB.
const ledgerMost = 1024

// tail is the end of one box.
type tail struct {
	// Guarded by the shard's mu.
	users int           // Appends under way
	queue chan struct{} // closed when the last of them is done

	// Owned by the Append whose turn it is.
	known bool
	last  uint64 // offset of the last message in the stream, 0 if there is none
	prev  uint64 // for the next message; beyond last if that is gone
	sum   int64  // of the last message
	base  int64  // not more than the sum before the first message
}

func (l *ledger) init() {
	l.seed = maphash.MakeSeed()
	for i := range l.shards {
		l.shards[i].tails = make(map[Box]*tail)
	}
}

func (l *ledger) shard(b Box) *ledgerShard {
	return &l.shards[maphash.String(l.seed, b.subject)%uint64(len(l.shards))]
}

// turn is an Append's place in the queue of its box.
type turn struct {
	shard  *ledgerShard
	tail   *tail
	before <-chan struct{} // nil: nobody
	done   chan struct{}
}

// enter takes a place behind those that have one.
func (l *ledger) enter(b Box) turn {
	sh := l.shard(b)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.tails[b]
	if t == nil {
		t = new(tail)
		if len(sh.tails) >= ledgerMost {
			sh.evictLocked()
		}
		sh.tails[b] = t
	}
	tn := turn{sh, t, nil, make(chan struct{})}
	if t.users > 0 {
		tn.before = t.queue
	}
	t.users++
	t.queue = tn.done
	return tn
}

// leave lets the next one go on.
func (tn turn) leave() {
	tn.shard.mu.Lock()
	tn.tail.users--
	tn.shard.mu.Unlock()
	close(tn.done)
}

// evictLocked forgets an entry that is not in use; the map's order is random.
func (sh *ledgerShard) evictLocked() {
	for b, t := range sh.tails {
		if t.users == 0 {
			delete(sh.tails, b)
			return
		}
	}
}

// forget what is known of a box.
func (l *ledger) forget(b Box) {
	tn := l.enter(b)
	if tn.before != nil {
		<-tn.before
	}
	tn.tail.known = false
	tn.tail.base = 0
	tn.leave()
}
