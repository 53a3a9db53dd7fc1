package frame

import "github.com/gobwas/ws"

// AppendFrame appends one frame as a server sends it: final, unmasked, not
// compressed. It panics if a control frame's payload is longer than 125 bytes.
func AppendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	if op.IsControl() && len(payload) > ws.MaxControlFramePayloadSize {
		panic("BUG: control frame longer than 125 bytes")
	}
	dst = appendHeader(dst, bitFIN|byte(op), len(payload))
	return append(dst, payload...)
}
