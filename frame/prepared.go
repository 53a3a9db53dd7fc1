package frame

import (
	"sync"

	"github.com/gobwas/ws"
)

// Prepared is one message, encoded once and sent to any number of receivers. All
// of them share its memory.
type Prepared struct {
	plain []byte // header and payload
	op    ws.OpCode

	// The compressed twin is made for the first receiver that can take it, not
	// with the frame: most messages never meet one, and of those that do the
	// others wait for the first rather than compress as well.
	once    sync.Once
	deflate []byte // nil if that is not smaller
}

// Prepare encodes a message or control frame. It copies payload, and does not check
// that text is UTF-8.
func Prepare(op ws.OpCode, payload []byte) *Prepared {
	p := new(Prepared)
	p.Init(op, payload)
	return p
}

// Init is Prepare for a Prepared that is part of another struct. It is called once,
// before anything else.
func (p *Prepared) Init(op ws.OpCode, payload []byte) {
	p.plain = AppendFrame(make([]byte, 0, HeaderSize(len(payload))+len(payload)), op, payload)
	p.op = op
}

// Plain returns the frame for a connection without compression. It is shared:
// nobody may write to it.
func (p *Prepared) Plain() []byte { return p.plain }

// Deflated returns the frame for a connection that negotiated c: compressed if
// that is allowed and worth it, plain if not. The first call that needs it
// compresses, at the level of its Rules, and later ones share the result.
func (p *Prepared) Deflated(r *Rules, c Params) []byte {
	n := p.Len()
	if c.ServerBits == 0 || n < r.minSize() || p.op.IsControl() {
		return p.plain
	}
	// Nothing in a message refers back further than it is long, so one that is
	// no longer than the client's window fits any window (RFC 7692, 7.1.2.1).
	// The compressor's own is of 15 bits.
	if c.ServerBits < 15 && n > 1<<c.ServerBits {
		return p.plain
	}
	p.once.Do(func() { p.deflate = deflateFrame(r.Deflate.Level, p.op, p.plain[len(p.plain)-n:]) })
	if p.deflate == nil {
		return p.plain
	}
	return p.deflate
}

// Payload returns the payload of the frame. It is shared, like the frame.
func (p *Prepared) Payload() []byte { return p.plain[len(p.plain)-p.Len():] }

// Op returns the opcode.
func (p *Prepared) Op() ws.OpCode { return p.op }

// Len returns the size of the payload.
func (p *Prepared) Len() int {
	n := len(p.plain)
	switch {
	case n <= 2+125:
		return n - 2
	case n <= 4+65535:
		return n - 4
	default:
		return n - 10
	}
}
