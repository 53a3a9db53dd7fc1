package frame

import (
	"encoding/binary"
	"math"

	"github.com/gobwas/ws"
)

// The first two bytes of a frame (RFC 6455, 5.2).
const (
	bitFIN  = 0x80
	bitRSV1 = 0x40
	bitsRSV = 0x70
	bitsOp  = 0x0f
	bitMask = 0x80
	bitsLen = 0x7f
)

// maxHead is the maximum size of a client's header: two bytes, eight for the length, four for the masking
// key.
const maxHead = 2 + 8 + 4

// header is a frame header, and the progress of its payload.
type header struct {
	op       ws.OpCode
	fin      bool
	deflated bool    // RSV1: the first frame of a compressed message
	phase    uint8   // number of payload bytes unmasked, modulo 4
	mask     [4]byte // masking key
	left     int     // payload bytes that have not arrived
}

// parseHeader parses a client's frame header at the beginning of p and returns its size, or 0 if it is
// incomplete. A fault is reported as soon as its bytes have arrived: the first two bytes are checked first,
// then the length, so a frame that is too big is rejected before its masking key arrives.
//
// s is the decoder's state, nil between messages.
func parseHeader(p []byte, s *state, r *Rules) (h header, size int, f *CloseError) {
	if len(p) < 2 {
		return h, 0, nil
	}
	b0, b1 := p[0], p[1]
	h.op = ws.OpCode(b0 & bitsOp)
	h.fin = b0&bitFIN != 0
	inMessage := s != nil && s.inMessage

	// 5.2: RSV bits "MUST be 0 unless an extension is negotiated that defines
	// meanings for non-zero values". RFC 7692, 6.1 defines RSV1 on the first
	// frame of a message, and "MUST NOT set" it on others or on control frames.
	if b0&bitsRSV != 0 {
		first := h.op == ws.OpText || h.op == ws.OpBinary
		if b0&bitsRSV != bitRSV1 || !first || s == nil || !s.deflate {
			return h, 0, faultReserved
		}
		h.deflated = true
	}
	room := r.maxMessage()
	if h.op.IsControl() {
		switch {
		case h.op > ws.OpPong: // 5.2: 0xB to 0xF are reserved
			return h, 0, faultOpCode
		case !h.fin: // 5.5: control frames "MUST NOT be fragmented"
			return h, 0, faultControl
		case b1&bitsLen > ws.MaxControlFramePayloadSize: // 5.5: "125 bytes or less"
			return h, 0, faultControlLen
		}
	} else {
		switch {
		case h.op > ws.OpBinary: // 5.2: 3 to 7 are reserved
			return h, 0, faultOpCode
		case h.op == ws.OpContinuation && !inMessage: // 5.4
			return h, 0, faultContinue
		case h.op != ws.OpContinuation && inMessage: // 5.4: fragments "MUST NOT be interleaved"
			return h, 0, faultInterleave
		}
		switch {
		case h.deflated:
			room = r.maxDeflated()
		case inMessage && s.z != nil:
			room = r.maxDeflated() - s.z.fed
		case inMessage:
			room -= int(s.complete)
		}
	}
	// 5.1: a server "MUST close the connection upon receiving a frame that is
	// not masked".
	if b1&bitMask == 0 {
		return h, 0, faultUnmasked
	}

	// 5.2: "the minimal number of bytes MUST be used to encode the length".
	size = 2
	h.left = int(b1 & bitsLen)
	switch h.left {
	case 126:
		if len(p) < 4 {
			return h, 0, nil
		}
		h.left = int(binary.BigEndian.Uint16(p[2:]))
		if h.left < 126 {
			return h, 0, faultLength
		}
		size = 4
	case 127:
		if len(p) < 10 {
			return h, 0, nil
		}
		n := binary.BigEndian.Uint64(p[2:])
		if n > math.MaxInt64 { // 5.2: "the most significant bit MUST be 0"
			return h, 0, faultLengthMSB
		}
		if n <= math.MaxUint16 {
			return h, 0, faultLength
		}
		if n > uint64(room) {
			return h, 0, faultTooBig
		}
		h.left = int(n)
		size = 10
	}
	if h.left > room && !h.op.IsControl() {
		return h, 0, faultTooBig
	}

	if len(p) < size+4 {
		return h, 0, nil
	}
	h.mask = [4]byte(p[size:])
	return h, size + 4, nil
}
