package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"fanfare/server/store"
)

// fakeStore is a Store in memory. hook runs before and after each operation that
// may block, with no lock held, so that a test can do anything meanwhile.
type fakeStore struct {
	now  func() time.Time
	hook func(op string)
	// acking is called before a position is stored.
	acking func(b store.Box, user string, from, to uint64, known bool)

	mu      sync.Mutex
	epochs  int
	valid   map[string]uint64 // earlier epochs: offsets up to here continue
	seq     uint64
	boxes   map[store.Box][]store.Message
	prev    map[store.Box]uint64
	removed map[store.Box]uint64 // the last offset that was removed
	acked   map[position]uint64
	down    bool
	skew    time.Duration // by which the clock of the store may differ, as far as it knows
	lag     int           // so many reads return nothing
	lastLag int           // so many times Last returns 0
	damaged map[uint64]bool
	recover func()
	calls   map[string]int
	backup  *fakeStore
}

type position struct {
	box  store.Box
	user string
}

var _ store.Store = (*fakeStore)(nil)

func newFakeStore(now func() time.Time) *fakeStore {
	return &fakeStore{
		now: now, epochs: 1,
		valid:   make(map[string]uint64),
		boxes:   make(map[store.Box][]store.Message),
		prev:    make(map[store.Box]uint64),
		removed: make(map[store.Box]uint64),
		acked:   make(map[position]uint64),
		damaged: make(map[uint64]bool),
		calls:   make(map[string]int),
	}
}

func (f *fakeStore) epoch() string { return epochNames[min(f.epochs, len(epochNames)-1)] }

// epochNames keep the store from allocating.
var epochNames = func() (l []string) {
	for i := range 10000 {
		l = append(l, fmt.Sprint("e", i))
	}
	return l
}()

// do runs one blocking operation.
func (f *fakeStore) do(op string, g func()) error {
	if hook := f.hook; hook != nil {
		hook(op)
		defer hook(op + ", done")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	if f.down {
		return store.ErrUnavailable
	}
	g()
	return nil
}

// append stores a message at once.
func (f *fakeStore) append(b store.Box, payload string, ttl time.Duration) store.Receipt {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	m := store.Message{Offset: f.seq, Prev: f.prev[b], Stored: f.now(), Payload: []byte(payload)}
	if ttl > 0 {
		m.Expires = f.now().Add(ttl)
	}
	f.boxes[b] = append(f.boxes[b], m)
	f.prev[b] = f.seq
	return store.Receipt{Offset: m.Offset, Prev: m.Prev}
}

// removeFirst removes the oldest message of a box.
func (f *fakeStore) removeFirst(b store.Box) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.boxes[b]; len(l) > 0 {
		f.removed[b] = l[0].Offset
		f.boxes[b] = slices.Clone(l[1:])
	}
}

// reopen begins an epoch whose offsets continue.
func (f *fakeStore) reopen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.valid[f.epoch()] = f.seq
	f.epochs++
}

// save keeps a copy for restore.
func (f *fakeStore) save() {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := newFakeStore(f.now)
	c.seq, c.prev, c.acked, c.removed = f.seq, maps.Clone(f.prev), maps.Clone(f.acked), maps.Clone(f.removed)
	for b, l := range f.boxes {
		c.boxes[b] = slices.Clone(l)
	}
	f.backup = c
}

// restore brings back what save kept, or an empty store.
func (f *fakeStore) restore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.backup
	if c == nil {
		c = newFakeStore(f.now)
	}
	f.valid[f.epoch()] = f.seq
	for e, offset := range f.valid {
		f.valid[e] = min(offset, c.seq)
	}
	f.epochs++
	f.seq, f.boxes, f.prev, f.acked, f.removed = c.seq, c.boxes, c.prev, c.acked, c.removed
	f.backup = nil
}

func (f *fakeStore) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeStore) last(b store.Box) (offset uint64) {
	if l := f.boxes[b]; len(l) > 0 {
		return l[len(l)-1].Offset
	}
	return f.removed[b] // as package inbox has it
}

func (f *fakeStore) position(b store.Box, user string) (uint64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	offset, known := f.acked[position{b, user}]
	return offset, known
}

func (f *fakeStore) Read(ctx context.Context, b store.Box, after uint64, maxBytes int) (p store.Page, err error) {
	var damage error
	err = f.do("read", func() {
		if f.lag > 0 {
			f.lag--
			return
		}
		p.Gap = f.removed[b] > after
		size := 0
		for _, m := range f.boxes[b] {
			switch size += len(m.Payload); {
			case m.Offset <= after:
				size = 0
			case f.damaged[m.Offset]:
				damage = fmt.Errorf("%w: message %d", store.ErrDamaged, m.Offset)
			case len(p.Messages) > 0 && (size > maxBytes || len(p.Rest) > 0):
				p.Rest = append(p.Rest, m.Offset)
			default:
				p.Messages = append(p.Messages, m)
			}
		}
	})
	return p, errors.Join(err, damage)
}

func (f *fakeStore) Get(ctx context.Context, b store.Box, offset uint64) (m *store.Message, err error) {
	err = f.do("get", func() {
		for i := range f.boxes[b] {
			if f.boxes[b][i].Offset == offset {
				found := f.boxes[b][i]
				m = &found
			}
		}
	})
	return m, err
}

func (f *fakeStore) Last(ctx context.Context, b store.Box) (offset uint64, err error) {
	err = f.do("last", func() {
		if offset = f.last(b); f.lastLag > 0 {
			f.lastLag--
			offset = 0
		}
	})
	return offset, err
}

// Rewind implements store.Rewinder.
func (f *fakeStore) Rewind(ctx context.Context, b store.Box, n int) (after uint64, err error) {
	err = f.do("rewind", func() {
		l := f.boxes[b]
		if after = f.last(b); len(l) > 0 {
			after = l[max(len(l)-n, 0)].Prev
		}
	})
	return after, err
}

// Empty implements store.Emptier.
func (f *fakeStore) Empty(b store.Box) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.prev[b] == 0 && f.removed[b] == 0 && !f.down
}

func (f *fakeStore) Before(ctx context.Context, b store.Box, t time.Time) (offset uint64, err error) {
	err = f.do("before", func() {
		if len(f.boxes[b]) == 0 {
			offset = f.removed[b]
		}
		for _, m := range f.boxes[b] {
			if m.Stored.Before(t.Add(-f.skew)) {
				offset = m.Offset
			}
		}
	})
	return offset, err
}

func (f *fakeStore) Acked(ctx context.Context, b store.Box, user string) (offset uint64, known bool, err error) {
	err = f.do("acked", func() { offset, known = f.acked[position{b, user}] })
	return offset, known, err
}

func (f *fakeStore) Ack(b store.Box, user string, offset uint64) {
	from, known := f.position(b, user)
	if f.acking != nil && (offset > from || !known) {
		f.acking(b, user, from, offset, known)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["ack"]++
	f.acked[position{b, user}] = max(from, offset)
}

func (f *fakeStore) AckSync(ctx context.Context, b store.Box, user string, offset uint64) error {
	return f.do("acksync", func() {
		f.acked[position{b, user}] = max(offset, f.acked[position{b, user}])
	})
}

func (f *fakeStore) Renew(b store.Box, user string, offset uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["renew "+b.Topic+" "+user+" "+fmt.Sprint(offset)]++
}

func (f *fakeStore) Epoch(b store.Box) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return ""
	}
	return f.epoch()
}

func (f *fakeStore) Continues(ctx context.Context, b store.Box, epoch string, offset uint64) (ok bool, err error) {
	err = f.do("continues", func() {
		limit, known := f.valid[epoch]
		ok = epoch == f.epoch() && offset <= f.seq || known && offset <= limit
	})
	return ok, err
}

func (f *fakeStore) Begin(store.Box, store.Entry) store.Pending { panic("not used") }
func (f *fakeStore) Purge(context.Context, store.Box) (uint64, error) {
	panic("not used")
}
func (f *fakeStore) RenewInterval() time.Duration { return time.Hour }
func (f *fakeStore) Ready() error                 { return nil }
func (f *fakeStore) OnRecover(g func())           { f.recover = g }
func (f *fakeStore) Stats() store.Stats           { return store.Stats{} }
func (f *fakeStore) Close()                       {}
