package inbox

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"fanfare/server/inbox/internal/subject"
)

// tails remembers the end of boxes that this process appended to, and lets their
// appends pass one after another, in the order of the calls to Begin.
//
// It is a cache: JetStream checks what it says with each append (expected last
// sequence), so that a wrong entry costs one more round trip.
type tails struct {
	seed   maphash.Seed
	shards [64]tailShard
	// history changes when the offsets of a stream begin anew: what was known of
	// the boxes is void.
	history atomic.Uint64
}

type tailShard struct {
	mu    sync.Mutex
	tails map[subject.Box]*tail // guarded by mu
}

// tailsPerShard: 64 shards of 1024 entries, about 200 bytes each with the name,
// are 13 MiB.
const tailsPerShard = 1024

// tail is the end of one box.
type tail struct {
	// Guarded by the shard's mu.
	users int           // appends under way
	queue chan struct{} // closed when the last of them is done

	// Owned by the append that may proceed.
	known   bool
	history uint64 // of tails, when it became known
	last    uint64 // offset of the last message in the stream, 0 if there is none
	prev    uint64 // for the next message; greater than last if that was removed
	sum     int64  // of the last message
	base    int64  // at most the sum before the first message
	// unsure is set after an append that may have been stored although it failed.
	// Then messages after prev are not in the account yet.
	unsure bool
}

// begin sets what is known of an empty box, of which the last message was at prev.
func (t *tail) begin(history, prev uint64) {
	t.known, t.history = true, history
	t.last, t.base = 0, t.sum
	t.prev = max(t.prev, prev)
}

func (l *tails) init() {
	l.seed = maphash.MakeSeed()
	for i := range l.shards {
		l.shards[i].tails = make(map[subject.Box]*tail)
	}
}

func (l *tails) shard(b subject.Box) *tailShard {
	return &l.shards[maphash.String(l.seed, b.Subject)%uint64(len(l.shards))]
}

// place is an append's place in the queue of its box.
type place struct {
	shard  *tailShard
	tail   *tail
	before <-chan struct{} // nil: none
	done   chan struct{}
}

// enter takes the next place.
func (l *tails) enter(b subject.Box) place {
	sh := l.shard(b)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.tails[b]
	if t == nil {
		t = new(tail)
		if len(sh.tails) >= tailsPerShard {
			sh.evictLocked()
		}
		sh.tails[b] = t
	}
	p := place{sh, t, nil, make(chan struct{})}
	if t.users > 0 {
		p.before = t.queue
	}
	t.users++
	t.queue = p.done
	return p
}

// leave lets the next append proceed.
func (p place) leave() {
	p.shard.mu.Lock()
	p.tail.users--
	p.shard.mu.Unlock()
	close(p.done)
}

// abandon leaves as soon as the append before has left: the order of the others stays.
func (p place) abandon() {
	go func() {
		<-p.before
		p.leave()
	}()
}

// evictLocked drops an entry that is not in use; the order of the map is random.
func (sh *tailShard) evictLocked() {
	var unsure subject.Box
	for b, t := range sh.tails {
		switch {
		case t.users > 0:
		case !t.unsure:
			delete(sh.tails, b)
			return
		default:
			unsure = b
		}
	}
	delete(sh.tails, unsure)
}

// forget drops what is known of the end of a box.
func (l *tails) forget(b subject.Box) {
	p := l.enter(b)
	if p.before != nil {
		<-p.before
	}
	p.tail.known = false
	p.tail.base = 0
	p.leave()
}
