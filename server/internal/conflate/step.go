package conflate

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/fanout"
)

// Step sends the messages whose time has come, and forgets slots whose time has passed.
func (t *Table[S, M]) Step(now time.Duration) {
	due := 0
	t.wheel.Advance(now, func(sl *slot[S, M]) {
		sh := t.shard(sl.key.session)
		sh.due = append(sh.due, sl)
		due++
	})
	if due == 0 {
		return
	}
	fanout.Sum(shards, due, func(i int) int {
		t.stepShard(&t.shards[i], now)
		return 0
	})
}

func (t *Table[S, M]) stepShard(sh *shard[S, M], now time.Duration) {
	list := sh.due
	if len(list) == 0 {
		return
	}
	sh.mu.Lock()
	slices.SortFunc(list, func(a, b *slot[S, M]) int { return cmp.Compare(a.began, b.began) })
	sh.mu.Unlock()
	for i, sl := range list {
		t.stepSlot(sh, sl, now)
		if i%fanout.Portion == fanout.Portion-1 {
			runtime.Gosched()
		}
	}
	clear(list)
	if sh.due = list[:0]; cap(list) > 1024 {
		sh.due = nil
	}
}

// stepSlot does what a slot is due for. If a message was sent since its timer fired, or one with
// another interval waits, the timer is armed again for a later time.
func (t *Table[S, M]) stepSlot(sh *shard[S, M], sl *slot[S, M], now time.Duration) {
	if o := t.sendDue(sh, sl, now); !o.Delivered() {
		t.cfg.Failed(sl.key.session, o)
	}
}

func (t *Table[S, M]) sendDue(sh *shard[S, M], sl *slot[S, M], now time.Duration) netpoll.Outcome {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case sl.owner == nil || now < sl.due():
		return netpoll.Queued
	case sl.began == 0:
		t.forget(sh, sl)
		return netpoll.Queued
	}
	o := t.cfg.Write(sl.key.session, sl.message)
	t.release(sl)
	t.noteSent(sl, now, sl.interval)
	return o
}

// Flush sends what waits for a session, and forgets the session. It returns how many messages
// were not delivered, and the outcome of the last of these.
func (t *Table[S, M]) Flush(s S) (lost int, o netpoll.Outcome) {
	t.forgetAll(s, func(m M) {
		if w := t.cfg.Write(s, m); !w.Delivered() {
			lost++
			o = w
		}
	})
	return lost, o
}

// Drop forgets a session, and returns how many messages have waited for it.
func (t *Table[S, M]) Drop(s S) (lost int) {
	t.forgetAll(s, func(M) { lost++ })
	return lost
}

// forgetAll forgets a session, and calls f for each message that waits.
func (t *Table[S, M]) forgetAll(s S, f func(M)) {
	if t.count.Load() == 0 {
		return
	}
	sh := t.shard(s)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	own := sh.owners[s]
	if own == nil {
		return
	}
	for sl := own.first; sl != nil; {
		next := sl.next
		if sl.began != 0 {
			f(sl.message)
			t.release(sl)
		}
		t.forget(sh, sl)
		sl = next
	}
}

// Waits reports whether a message waits for a session.
func (t *Table[S, M]) Waits(s S) bool {
	if t.count.Load() == 0 {
		return false
	}
	sh := t.shard(s)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	own := sh.owners[s]
	return own != nil && own.last.began != 0
}
