package netpoll

import (
	"sync"
	"sync/atomic"
)

// keepLeftover keeps what Data has not consumed for the connection's next turn. It
// returns false if all buffers are in use.
func (e *Engine) keepLeftover(c *Conn, b []byte) bool {
	if !e.leftovers.keep(c, b) {
		return false
	}
	c.mu.Lock()
	c.setLocked(flagLeftover)
	c.mu.Unlock()
	return true
}

// dropLeftover returns the buffer of bytes that were kept, if there is one.
func (e *Engine) dropLeftover(c *Conn) {
	if !c.has(flagLeftover) {
		return
	}
	c.mu.Lock()
	c.clearLocked(flagLeftover)
	c.mu.Unlock()
	e.leftovers.drop(c)
}

const (
	maxLeftovers = 256     // buffers: 16 MiB
	smallRead    = 4 << 10 // bytes read at a time while all of them are in use
)

// leftovers are the bytes that handlers have not consumed, each in one of the engine's
// read buffers.
type leftovers struct {
	buffers *sync.Pool   // the engine's; immutable
	n       atomic.Int32 // how many
	mu      sync.Mutex
	of      map[*Conn]leftover // guarded by mu
}

type leftover struct {
	buf *[]byte
	b   []byte // of buf
}

func (l *leftovers) init(buffers *sync.Pool) { l.buffers, l.of = buffers, make(map[*Conn]leftover) }

func (l *leftovers) full() bool { return l.n.Load() >= maxLeftovers }

// keep keeps b, which is part of what is kept already, or of another buffer.
func (l *leftovers) keep(c *Conn, b []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept, again := l.of[c]
	switch {
	case again:
		kept.b = b
	case l.full():
		return false
	default:
		kept.buf = l.buffers.Get().(*[]byte)
		if len(b) > len(*kept.buf) { // Adopt was given more
			l.buffers.Put(kept.buf)
			return false
		}
		kept.b = (*kept.buf)[:copy(*kept.buf, b)]
		l.n.Add(1)
	}
	l.of[c] = kept
	return true
}

// look returns what is kept, which stays valid until drop.
func (l *leftovers) look(c *Conn) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[c].b
}

func (l *leftovers) drop(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if kept, ok := l.of[c]; ok {
		delete(l.of, c)
		l.buffers.Put(kept.buf)
		l.n.Add(-1)
	}
}
