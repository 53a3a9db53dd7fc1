package floor

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
)

// greet answers a complete request and returns its length; n is 0 while the request is incomplete.
func greet(in []byte) (answer []byte, echo bool, n int) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, false, 0
	}
	const name = "\r\nSec-WebSocket-Key: "
	at := bytes.Index(in, []byte(name)) + len(name)
	sum := sha1.Sum(append(in[at:at+24:at+24], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	answer = append(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	answer = base64.StdEncoding.AppendEncode(answer, sum[:])
	return append(answer, "\r\n\r\n"...), bytes.HasPrefix(in, []byte("GET /echo")), end + 4
}

// turn reads the complete frames of in and, if echo is set, rewrites them in place as the server's answers: the header of
// an answer is never longer than that of the request, so an answer never overwrites unread input.
func turn(in []byte, echo bool) (answer []byte, used int, bye bool) {
	w := 0
	for {
		f := in[used:]
		if len(f) < 6 {
			break
		}
		size, head := int(f[1]&127), 6
		switch {
		case size == 126:
			size, head = int(binary.BigEndian.Uint16(f[2:])), 8
		case size == 127 && len(f) < 14:
			return in[:w], used, false
		case size == 127:
			size, head = int(binary.BigEndian.Uint64(f[2:])), 14
		}
		if len(f) < head+size {
			break
		}
		used += head + size
		if f[0]&15 == 8 {
			return in[:w], used, true
		}
		if !echo || f[0]&8 != 0 {
			continue
		}
		unmask(f[head:head+size], [4]byte(f[head-4:head]))
		if w == 0 {
			// The common case, one frame: leave the payload in place and write the header before it.
			start := used - size - (head - 4)
			first := f[0]
			copy(in[start+1:], f[1:head-4])
			in[start] = first
			in[start+1] &= 127
			if used == len(in) {
				return in[start:used], used, false
			}
			w = copy(in, in[start:used])
			continue
		}
		in[w] = f[0]
		copy(in[w+1:], f[1:head-4])
		in[w+1] &= 127
		w += head - 4
		w += copy(in[w:], f[head:head+size])
	}
	return in[:w], used, false
}

func unmask(p []byte, key [4]byte) {
	k := uint64(binary.NativeEndian.Uint32(key[:]))
	k |= k << 32
	for len(p) >= 8 {
		binary.NativeEndian.PutUint64(p, binary.NativeEndian.Uint64(p)^k)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= key[i&3]
	}
}

// frame returns one unmasked text frame.
func frame(payload []byte) []byte {
	f := []byte{0x81}
	switch n := len(payload); {
	case n < 126:
		f = append(f, byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 127), uint64(n))
	}
	return append(f, payload...)
}
