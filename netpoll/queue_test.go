package netpoll

import (
	"testing"
	"unsafe"
)

func TestMakeRoom(t *testing.T) {
	const limit = 1000
	type msg struct {
		n int
		p Policy
	}
	repeat := func(n int, m msg) (all []msg) {
		for range n {
			all = append(all, m)
		}
		return all
	}
	const whole = limit - entryCost // the longest message that shares the queue with nothing
	tests := []struct {
		name    string
		queued  []msg
		sent    int
		busy    bool
		n       int
		p       Policy
		ok      bool
		dropped int
	}{
		{name: "empty", n: 10, p: CloseOnFull, ok: true},
		{name: "an empty queue accepts a message that never fits", n: 10 * limit, p: CloseOnFull, ok: true},
		{name: "an empty queue accepts a droppable message that never fits", n: 10 * limit, p: DropOldest, ok: true},
		{name: "fits exactly", queued: []msg{{whole - 10 - entryCost, CloseOnFull}}, n: 10, p: CloseOnFull, ok: true},
		{name: "one byte too long", queued: []msg{{whole - 10 - entryCost, CloseOnFull}}, n: 11, p: CloseOnFull},
		{name: "sent bytes do not count", queued: []msg{{whole, CloseOnFull}}, sent: 11 + entryCost, n: 11, p: CloseOnFull, ok: true},
		{name: "entries count too", queued: repeat(limit/entryCost, msg{1, DropOldest}), n: 1, p: CloseOnFull},
		{name: "control has slack", queued: []msg{{whole, CloseOnFull}}, n: controlSlack - entryCost, p: Control, ok: true},
		{name: "control's slack ends", queued: []msg{{whole, CloseOnFull}}, n: controlSlack - entryCost + 1, p: Control},
		{name: "control drops nothing", queued: []msg{{whole, DropOldest}}, n: controlSlack, p: Control},
		{name: "CloseOnFull drops nothing", queued: []msg{{whole, DropOldest}}, n: 1, p: CloseOnFull},
		{name: "the oldest goes", queued: repeat(10, msg{68, DropOldest}), n: 68, p: DropOldest, ok: true, dropped: 1},
		{name: "as many as necessary", queued: repeat(10, msg{68, DropOldest}), n: 69, p: DropOldest, ok: true, dropped: 2},
		{name: "others stay", queued: []msg{{100, CloseOnFull}, {400, DropOldest}, {100, Control}, {260, DropOldest}}, n: 300, p: DropOldest, ok: true, dropped: 1},
		{name: "nothing is dropped if that does not make room", queued: []msg{{700, CloseOnFull}, {100, DropOldest}}, n: 500, p: DropOldest},
		{name: "a begun head stays", queued: []msg{{500, DropOldest}, {400, DropOldest}}, sent: 1, n: 200, p: DropOldest, ok: true, dropped: 1},
		{name: "a begun head alone", queued: []msg{{whole, DropOldest}}, sent: 1, n: 200, p: DropOldest},
		{name: "a head that is being written stays", queued: []msg{{whole - 200, DropOldest}, {100, CloseOnFull}}, busy: true, n: 200, p: DropOldest},
		{name: "a head that is being written does not wait", queued: []msg{{whole, CloseOnFull}}, busy: true, n: 10 * limit, p: CloseOnFull, ok: true},
		{name: "a droppable head that is being written does not wait", queued: []msg{{whole, DropOldest}}, busy: true, n: 200, p: DropOldest, ok: true},
		{name: "the next one waits", queued: []msg{{whole, CloseOnFull}, {1, CloseOnFull}}, busy: true, n: 1, p: CloseOnFull},
		{name: "a begun head waits", queued: []msg{{whole, CloseOnFull}}, sent: 1, n: 200, p: CloseOnFull},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := new(queue)
			for _, m := range tt.queued {
				q.push(make([]byte, m.n), m.p, false)
			}
			q.sent(tt.sent)
			q.busy = tt.busy
			before := q.size
			ok, dropped := q.makeRoom(tt.n, limit, tt.p)
			if ok != tt.ok || dropped != tt.dropped {
				t.Errorf("makeRoom = %v, %d dropped, want %v, %d", ok, dropped, tt.ok, tt.dropped)
			}
			if dropped == 0 && q.size != before {
				t.Errorf("size went from %d to %d", before, q.size)
			}
		})
	}
}

// A peer that reads just fast enough that the queue is never empty must not make the
// storage for copies grow with everything that was sent.
func TestQueueStorageIsBounded(t *testing.T) {
	q := new(queue)
	for range 10_000 {
		q.push(make([]byte, 1000), Control, true)
		if q.size > 3000 {
			q.sent(1000)
		}
	}
	if cap(q.own) > ownKeep {
		t.Errorf("%d bytes of storage for a queue of %d", cap(q.own), q.size)
	}
	if len(q.entries) > 1000 {
		t.Errorf("%d entries for %d bytes", len(q.entries), q.size)
	}
}

func TestQueueCopiesShareAnEntry(t *testing.T) {
	q := new(queue)
	for range 20 {
		q.push([]byte("pong"), Control, true)
	}
	if n := len(q.entries); n != 1 || q.entries[0].messages != 20 {
		t.Errorf("%d entries, %d messages in the first, want 1 and 20", n, q.entries[0].messages)
	}
	if n := q.discard(); n != 20 {
		t.Errorf("discard dropped %d messages, want 20", n)
	}
}

// For a peer that reads nothing, each broadcast drops one message and does not look at
// the whole queue: the other messages are moved only once for a quarter as many drops, and
// the storage stays bounded.
func TestQueueDropsInPlace(t *testing.T) {
	for _, begun := range []int{0, 50} {
		const size, limit = 128, 64 << 10
		q := new(queue)
		m := make([]byte, size)
		for q.cost()+size+entryCost <= limit {
			q.push(m, DropOldest, false)
		}
		q.sent(begun)
		n, want := len(q.entries), q.size
		moves, tail := 0, 0
		use := func() {
			head := q.head
			if ok, dropped := q.makeRoom(size, limit, DropOldest); !ok || dropped > 1 {
				t.Fatalf("accepted %t, %d dropped", ok, dropped)
			}
			if q.head < head {
				moves++
			}
			q.push(m, DropOldest, false)
			tail = max(tail, len(q.entries))
		}
		use()
		use()
		if a := testing.AllocsPerRun(10*n, use); a != 0 {
			t.Errorf("%v allocations per message", a)
		}
		if moves == 0 || moves > 50 || tail > n*5/4+2 {
			t.Errorf("%d moves in %d messages, %d entries in storage for %d", moves, 10*n, tail, n)
		}
		if q.off != begun || q.size > want+begun || q.size < want-size {
			t.Errorf("%d bytes begun and %d unsent, were %d and %d", q.off, q.size, begun, want)
		}
	}
}

func TestQueueDoesNotAllocate(t *testing.T) {
	shared, own := make([]byte, 100), make([]byte, 100)
	q := new(queue)
	use := func() {
		for range 100 {
			q.push(shared, CloseOnFull, false)
			q.push(own, Control, true)
		}
		q.sent(q.size)
		q.entries, q.head = q.entries[:0], 0
	}
	use()
	if n := testing.AllocsPerRun(100, use); n != 0 {
		t.Errorf("%v allocations for 200 messages", n)
	}
}

func TestFreeQueueKeepsNoMessage(t *testing.T) {
	q := new(queue)
	for range 100 {
		q.push(make([]byte, 1000), CloseOnFull, false)
		q.push(make([]byte, 1000), Control, true)
	}
	q.sent(100_500)
	q.free()
	if q.size != 0 || q.off != 0 || q.head != 0 || len(q.entries) != 0 || cap(q.own) > ownKeep {
		t.Errorf("a free queue holds %+v", *q)
	}
	for _, e := range q.entries[:cap(q.entries)] {
		if e.b != nil {
			t.Fatal("a free queue refers to a message")
		}
	}
}

// An entry is a slice and a word for its policy and number of messages. On 32 bits it is
// smaller than what it counts.
func TestEntrySize(t *testing.T) {
	n := unsafe.Sizeof(entry{})
	if n > entryCost || n != entryCost && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("an entry takes %d bytes, entryCost says %d", n, entryCost)
	}
}
