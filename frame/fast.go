package frame

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// fastNext is Next for nearly all input: a whole message of up to 64 KiB in one uncompressed frame. It
// takes a third of the time of the general path. It returns n == 0 for everything else, and for every
// fault, so that only the general path reports faults.
func fastNext(r *Rules, in []byte) (m Message, n int) {
	if len(in) < 6 || in[1] < bitMask {
		return m, 0
	}
	op := ws.OpCode(in[0] &^ bitFIN)
	switch in[0] {
	case bitFIN | byte(ws.OpText), bitFIN | byte(ws.OpBinary), bitFIN | byte(ws.OpPing), bitFIN | byte(ws.OpPong):
	default:
		return m, 0
	}
	head, size := 6, int(in[1]&bitsLen)
	if size >= 126 {
		if size == 127 || len(in) < 8 || op.IsControl() {
			return m, 0
		}
		head, size = 8, int(binary.BigEndian.Uint16(in[2:]))
		if size < 126 {
			return m, 0
		}
	}
	n = head + size
	if n > len(in) || size > r.maxMessage() {
		return m, 0
	}
	p := in[head:n:n]
	mask := [4]byte(in[head-4:])
	ws.Cipher(p, mask, 0)
	if op == ws.OpText && !utf8.Valid(p) {
		ws.Cipher(p, mask, 0) // masks it again for the general path, which reports the fault
		return m, 0
	}
	return Message{op, p}, n
}
