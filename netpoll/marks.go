package netpoll

import (
	"sync/atomic"
	"unsafe"
)

// A Mark says about one descriptor of an Engine whether its connection is at rest: between
// two messages, in both directions. Marks are in memory that the engine shares with another
// process, which has duplicates of descriptors, and looks at them when this process has died.
// No instruction at which it dies makes a mark lie: a bit is set before what makes it true, and
// cleared after that has ended.
type Mark struct {
	// id is the Conn.ID of a connection that the other process knows; 0: it knows none.
	id atomic.Uint32
	// version changes when what the other process knows of the connection is not true any more.
	version atomic.Uint32
	bits    atomic.Uint32
	_       uint32
}

const (
	markReading uint32 = 1 << iota // bytes may have been received whose message has not ended
	markWriting                    // a message may be sent in part, or bytes are unsent, or none may follow
	markListed                     // Touch was called, and the other process does not know that version
)

// Marks are the marks of all descriptors, by their numbers. A descriptor beyond them has none.
type Marks []Mark

// MarkSize is the memory that a descriptor needs in Marks.
const MarkSize = int(unsafe.Sizeof(Mark{}))

// MarksIn returns the marks that have their place in memory, which is zero at first.
func MarksIn(memory []byte) Marks {
	n := len(memory) / MarkSize
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*Mark)(unsafe.Pointer(unsafe.SliceData(memory))), n)
}

// Found says how a connection was found.
type Found uint8

const (
	// FoundEnded means that the connection was closed.
	FoundEnded Found = iota
	// FoundUnsent means that a message may be sent in part, or that none may follow: nothing can
	// be sent that the peer understands.
	FoundUnsent
	// FoundBusy means that a message of the peer may be received in part, or that the version is
	// another one. What is sent begins a message.
	FoundBusy
	// FoundAtRest means that the next byte in either direction begins a message.
	FoundAtRest
)

// Look returns how the connection was found that had a descriptor and an ID when its process
// died, and whose version was told then.
func (m Marks) Look(fd int, id uint64, version uint32) Found {
	if uint(fd) >= uint(len(m)) {
		return FoundEnded
	}
	k := &m[fd]
	switch bits := k.bits.Load(); {
	case uint64(k.id.Load()) != id:
		return FoundEnded
	case bits&markWriting != 0:
		return FoundUnsent
	case bits&markReading != 0 || k.version.Load() != version:
		return FoundBusy
	}
	return FoundAtRest
}

// UseMarks has the engine keep marks of its connections. It is called before there are any.
func (e *Engine) UseMarks(m Marks) { e.marks = m }

// A Rester is a Handler that knows whether its peer's messages are complete. AtRest is called
// by the holder of the read turn.
type Rester interface{ AtRest() bool }

// mark returns the mark of the connection's descriptor; nil: there is none.
func (c *Conn) mark() *Mark {
	if e := c.engine; uint(c.fd) < uint(len(e.marks)) {
		return &e.marks[c.fd]
	}
	return nil
}

// clearMark is called when a descriptor is about to be used, or to be closed.
func (c *Conn) clearMark() {
	if m := c.mark(); m != nil {
		m.id.Store(0)
		m.bits.Store(0)
	}
}

// markReading is called before bytes are received. The caller holds the turn.
func (c *Conn) markReading() {
	if m := c.mark(); m != nil {
		m.bits.Or(markReading)
	}
}

// settle clears what markReading has set, if nothing is left over. The caller holds the turn.
func (c *Conn) settle() {
	m := c.mark()
	if m == nil || m.bits.Load()&markReading == 0 || c.has(flagLeftover) {
		return
	}
	if h, ok := c.handler.(Rester); ok && h.AtRest() {
		m.bits.And(^markReading)
	}
}

// markWritingLocked is called before bytes are sent or queued.
func (c *Conn) markWritingLocked() {
	if m := c.mark(); m != nil {
		m.bits.Or(markWriting)
	}
}

// markWrittenLocked is called when nothing is unsent, and has no effect if nothing may follow.
func (c *Conn) markWrittenLocked() {
	if m := c.mark(); m != nil && !c.hasLocked(flagSealed|flagReleased) {
		m.bits.And(^markWriting)
	}
}

// Touch gives the connection another version, because what another process knows of it is not
// true any more. It reports whether that is the first call since Described. It does nothing
// without a descriptor and without marks.
func (c *Conn) Touch() (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.engine == nil || c.hasLocked(flagReleased) {
		return false
	}
	m := c.mark()
	if m == nil {
		return false
	}
	m.version.Add(1)
	return m.bits.Or(markListed)&markListed == 0
}

// Version returns the version of the connection; false: it has ended. known reports whether
// NoteKnown was called.
func (c *Conn) Version() (version uint32, known, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.mark()
	if m == nil || c.hasLocked(flagReleased) {
		return 0, false, false
	}
	return m.version.Load(), m.id.Load() == c.gen, true
}

// Described notes that the other process knows a version, and reports whether that is still the
// version of the connection.
func (c *Conn) Described(version uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.mark()
	switch {
	case m == nil || c.hasLocked(flagReleased):
		return true
	case m.version.Load() != version:
		return false
	}
	m.bits.And(^markListed)
	return true
}

// NoteKnown notes that another process has a duplicate of the descriptor.
func (c *Conn) NoteKnown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.mark(); m != nil && !c.hasLocked(flagReleased) {
		m.id.Store(c.gen)
	}
}

// FD returns the number of the descriptor.
func (c *Conn) FD() int { return int(c.fd) }

// Inspect calls f with the read turn held, unless that is in use, or the connection is about
// to be closed. It reports whether it has called f.
func (c *Conn) Inspect(f func()) bool {
	if c.engine == nil || c.stream() != nil || !c.turn.acquire() {
		return false
	}
	ok := !c.has(flagClosing | flagReleased)
	if ok {
		f()
		c.settle()
	}
	c.engine.finish(c)
	return ok
}
