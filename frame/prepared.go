package frame

import "github.com/gobwas/ws"

// Prepared is one message, encoded once and sent to any number of receivers. It
// is immutable, so all of them share it.
type Prepared struct {
	plain []byte // header and payload
	op    ws.OpCode
}

// Prepare encodes a message or control frame. It copies payload.
func Prepare(op ws.OpCode, payload []byte) *Prepared {
	b := make([]byte, 0, HeaderSize(len(payload))+len(payload))
	return &Prepared{plain: AppendFrame(b, op, payload), op: op}
}

// Plain returns the frame as it goes to a connection without compression. It is
// shared: nobody may write to it.
func (p *Prepared) Plain() []byte { return p.plain }

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
