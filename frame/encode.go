package frame

import (
	"encoding/binary"
	"math"

	"github.com/gobwas/ws"
)

// AppendFrame appends one frame as a server sends it: final, unmasked and uncompressed. It panics if the
// payload of a control frame is longer than 125 bytes.
func AppendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	if op.IsControl() && len(payload) > ws.MaxControlFramePayloadSize {
		panic("BUG: control frame longer than 125 bytes")
	}
	dst = appendHeader(dst, bitFIN|byte(op), len(payload))
	return append(dst, payload...)
}

// HeaderSize returns the size of a server's frame header for a payload of n bytes: 2, 4 or 10.
func HeaderSize(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= math.MaxUint16:
		return 4
	default:
		return 10
	}
}

// appendHeader appends the header of an unmasked frame (5.1: a server "MUST NOT mask any frames that it
// sends"). b0 is FIN, RSV1 and the opcode.
func appendHeader(dst []byte, b0 byte, n int) []byte {
	switch HeaderSize(n) {
	case 2:
		return append(dst, b0, byte(n))
	case 4:
		return binary.BigEndian.AppendUint16(append(dst, b0, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, b0, 127), uint64(n))
	}
}
