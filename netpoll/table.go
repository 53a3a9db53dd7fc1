package netpoll

import (
	"sync"
	"sync/atomic"
)

const pageSize = 1024 // descriptors per page: 8 KiB, allocated for the first of them

type page [pageSize]atomic.Pointer[Conn]

// table finds the connection of a descriptor. The kernel assigns the lowest free number,
// so an array is dense: 8 bytes per connection and no hashing. Lookups take no lock.
type table struct {
	mu    sync.Mutex
	pages atomic.Pointer[[]*page] // replaced when it grows
	count atomic.Int64
}

func (t *table) get(fd int32) *Conn {
	pages := t.pages.Load()
	if pages == nil || fd < 0 || int(fd)/pageSize >= len(*pages) {
		return nil
	}
	p := (*pages)[fd/pageSize]
	if p == nil {
		return nil
	}
	return p[fd%pageSize].Load()
}

func (t *table) put(fd int32, c *Conn) {
	pages := t.pages.Load()
	if pages == nil || int(fd)/pageSize >= len(*pages) || (*pages)[fd/pageSize] == nil {
		pages = t.grow(fd)
	}
	if (*pages)[fd/pageSize][fd%pageSize].Swap(c) != nil {
		panic("BUG: netpoll: descriptor is in the table already")
	}
	t.count.Add(1)
}

// drop removes a descriptor. It must be called before the descriptor is closed, because
// the kernel may assign its number again at once.
func (t *table) drop(fd int32, c *Conn) {
	pages := t.pages.Load()
	if !(*pages)[fd/pageSize][fd%pageSize].CompareAndSwap(c, nil) {
		panic("BUG: netpoll: descriptor belongs to another connection")
	}
	t.count.Add(-1)
}

func (t *table) grow(fd int32) *[]*page {
	t.mu.Lock()
	defer t.mu.Unlock()
	var pages []*page
	if old := t.pages.Load(); old != nil {
		pages = append(pages, *old...)
	}
	for int(fd)/pageSize >= len(pages) {
		pages = append(pages, nil)
	}
	if pages[fd/pageSize] == nil {
		pages[fd/pageSize] = new(page)
	}
	t.pages.Store(&pages)
	return &pages
}

// portionSize is how many descriptors a walk visits before other goroutines run: 128
// writes take about half a millisecond.
const portionSize = 128

func (t *table) portions() int {
	pages := t.pages.Load()
	if pages == nil {
		return 0
	}
	return len(*pages) * (pageSize / portionSize)
}

// eachOf calls f for every connection of one portion.
func (t *table) eachOf(portion int, f func(*Conn)) {
	p := (*t.pages.Load())[portion/(pageSize/portionSize)]
	if p == nil {
		return
	}
	first := portion % (pageSize / portionSize) * portionSize
	for i := range p[first : first+portionSize] {
		if c := p[first+i].Load(); c != nil {
			f(c)
		}
	}
}

// each calls f for every connection that is in the table.
func (t *table) each(f func(*Conn)) {
	for i := range t.portions() {
		t.eachOf(i, f)
	}
}

// Each calls f with the handler of every connection that is open during the whole
// call, and of some of the connections that open or close meanwhile.
func (e *Engine) Each(f func(Handler)) {
	for i := range e.Portions() {
		e.EachOf(i, f)
	}
}

// Portions returns the number of parts that EachOf divides the connections into.
func (e *Engine) Portions() int { return e.table.portions() + 1 }

// EachOf is Each for one part, so that several goroutines can share a walk, and other
// goroutines can run between two parts. Parts follow the descriptor numbers: the kernel
// allocated its own structures in about that order, so writing to all connections costs
// a sixth less CPU than in random order.
func (e *Engine) EachOf(portion int, f func(Handler)) {
	if portion == 0 { // portion 0, because the table may grow meanwhile
		for _, c := range e.streams.all() {
			f(c.handler)
		}
		return
	}
	e.table.eachOf(portion-1, func(c *Conn) {
		if !c.has(flagListener) {
			f(c.handler)
		}
	})
}
