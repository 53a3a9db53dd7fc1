package load

import (
	"encoding/binary"
	"errors"
)

// Opcodes, RFC 6455 section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// appendFrame appends one masked frame: a client must mask (RFC 6455 section 5.3).
func appendFrame(dst []byte, op byte, payload []byte, key uint32) []byte {
	dst = appendHead(dst, op, len(payload), key)
	at := len(dst)
	dst = append(dst, payload...)
	mask(dst[at:], key)
	return dst
}

func appendHead(dst []byte, op byte, size int, key uint32) []byte {
	switch {
	case size < 126:
		dst = append(dst, 0x80|op, 0x80|byte(size))
	case size < 1<<16:
		dst = append(dst, 0x80|op, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(size))
	default:
		dst = append(dst, 0x80|op, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(size))
	}
	return binary.LittleEndian.AppendUint32(dst, key)
}

func mask(p []byte, key uint32) {
	k := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(k >> (8 * i))
	}
}

var (
	errMasked   = errors.New("masked frame from the server (RFC 6455 section 5.1)")
	errReserved = errors.New("reserved bit or opcode (RFC 6455 section 5.2)")
	errFragment = errors.New("fragment of a control frame (RFC 6455 section 5.5)")
	errTooLong  = errors.New("frame longer than any message sent")
	errMinimal  = errors.New("length not in its shortest form (RFC 6455 section 5.2)")
	errControl  = errors.New("control frame longer than 125 bytes (RFC 6455 section 5.5)")
)

// nextFrame parses a frame at the start of in; n is 0 while it is incomplete. final is false for a fragment that is not the
// last of its message (section 5.4).
func nextFrame(in []byte) (op byte, final bool, payload []byte, n int, err error) {
	if len(in) < 2 {
		return 0, false, nil, 0, nil
	}
	size, head := int(in[1]), 2
	switch {
	case size&128 != 0:
		return 0, false, nil, 0, errMasked
	case size == 126:
		if len(in) < 4 {
			return 0, false, nil, 0, nil
		}
		if size, head = int(binary.BigEndian.Uint16(in[2:])), 4; size < 126 {
			return 0, false, nil, 0, errMinimal
		}
	case size == 127:
		if len(in) < 10 {
			return 0, false, nil, 0, nil
		}
		long := binary.BigEndian.Uint64(in[2:])
		if long > MaxSize+1 {
			return 0, false, nil, 0, errTooLong
		}
		if size, head = int(long), 10; size < 1<<16 {
			return 0, false, nil, 0, errMinimal
		}
	}
	switch op = in[0] & 15; {
	case in[0]&0x70 != 0, op > opBinary && op < opClose, op > opPong:
		return 0, false, nil, 0, errReserved
	case in[0]&0x80 == 0 && op >= opClose:
		return 0, false, nil, 0, errFragment
	case op >= opClose && size > 125:
		return 0, false, nil, 0, errControl
	}
	if len(in) < head+size {
		return 0, false, nil, 0, nil
	}
	return op, in[0]&0x80 != 0, in[head : head+size : head+size], head + size, nil
}
