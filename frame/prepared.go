package frame

import (
	"sync"

	"github.com/gobwas/ws"
)

// Prepared is a message that is encoded once and sent to any number of receivers, which share its memory.
type Prepared struct {
	plain []byte // header and payload
	op    ws.OpCode
	raw   bool // plain is not a frame

	// The compressed frame is made for the first receiver that negotiated compression, because most
	// messages have no such receiver. Other receivers wait for the first instead of compressing, too.
	once    sync.Once
	deflate []byte // nil if it is not smaller
}

// Prepare encodes a message or control frame. It copies payload. It does not check that text is valid
// UTF-8.
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

// Raw returns bytes of a protocol that does not consist of WebSocket frames, for connections that speak it. It
// does not copy b. The bytes are never compressed, and are the payload as well.
func Raw(b []byte) *Prepared { return &Prepared{plain: b, raw: true} }

// Plain returns the frame for a connection without compression. It is shared and must not be written to.
func (p *Prepared) Plain() []byte { return p.plain }

// Deflated returns the frame for a connection that negotiated c: compressed if r and c allow that and it is
// smaller, else plain. The first call that needs the compressed frame makes it, with the level of its
// Rules, and later calls share it. It must not be written to.
func (p *Prepared) Deflated(r *Rules, c Params) []byte {
	n := p.Len()
	if c.ServerBits == 0 || p.raw || n < r.minSize() || p.op.IsControl() {
		return p.plain
	}
	// A reference in a message reaches back at most by the length of the message, so a message that is not
	// longer than the client's window fits it (RFC 7692, 7.1.2.1). The compressor's window has 15 bits.
	if c.ServerBits < 15 && n > 1<<c.ServerBits {
		return p.plain
	}
	p.once.Do(func() { p.deflate = deflateFrame(r.Deflate.Level, p.op, p.plain[len(p.plain)-n:]) })
	if p.deflate == nil {
		return p.plain
	}
	return p.deflate
}

// Payload returns the payload. It is shared, like the frame.
func (p *Prepared) Payload() []byte { return p.plain[len(p.plain)-p.Len():] }

// Op returns the opcode.
func (p *Prepared) Op() ws.OpCode { return p.op }

// Len returns the size of the payload.
func (p *Prepared) Len() int {
	n := len(p.plain)
	switch {
	case p.raw:
		return n
	case n <= 2+125:
		return n - 2
	case n <= 4+65535:
		return n - 4
	default:
		return n - 10
	}
}
