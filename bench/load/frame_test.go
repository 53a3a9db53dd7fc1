package load

import (
	"bytes"
	"testing"
)

func serverFrame(op byte, payload []byte) []byte {
	f := appendHead(nil, op, len(payload), 0)
	f[1] &^= 0x80
	return append(f[:len(f)-4], payload...)
}

func TestNextFrame(t *testing.T) {
	long := bytes.Repeat([]byte{'x'}, 70_000)
	tests := []struct {
		name string
		in   []byte
		n    int
		err  error
	}{
		{"empty", nil, 0, nil},
		{"one byte", []byte{0x81}, 0, nil},
		{"whole", serverFrame(opText, []byte("hello")), 7, nil},
		{"cut", serverFrame(opText, []byte("hello"))[:6], 0, nil},
		{"two", append(serverFrame(opText, []byte("hello")), 0x81), 7, nil},
		{"16 bits", serverFrame(opBinary, long[:126]), 130, nil},
		{"16 bits, cut in the length", serverFrame(opBinary, long[:126])[:3], 0, nil},
		{"64 bits", serverFrame(opBinary, long), 70_010, nil},
		{"64 bits, cut in the length", serverFrame(opBinary, long)[:9], 0, nil},
		{"ping", serverFrame(opPing, long[:125]), 127, nil},
		{"long ping", serverFrame(opPing, long[:126]), 0, errControl},
		{"masked", appendFrame(nil, opText, []byte("hello"), 1), 0, errMasked},
		{"first reserved bit", []byte{0xc1, 0}, 0, errReserved},
		{"opcode 3", []byte{0x83, 0}, 0, errReserved},
		{"opcode 11", []byte{0x8b, 0}, 0, errReserved},
		{"first fragment", []byte{0x01, 1, 'x'}, 3, nil},
		{"last fragment", []byte{0x80, 0}, 2, nil},
		{"fragment of a ping", []byte{0x09, 0}, 0, errFragment},
		{"125 in 16 bits", []byte{0x81, 126, 0, 125}, 0, errMinimal},
		{"65535 in 64 bits", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 0, errMinimal},
		{"too long", []byte{0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0}, 0, errTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			op, final, p, n, err := nextFrame(tt.in)
			if n != tt.n || err != tt.err {
				t.Fatalf("n %d, error %v; want %d, %v", n, err, tt.n, tt.err)
			}
			if n > 0 && (op != tt.in[0]&15 || final != (tt.in[0] >= 0x80) || !bytes.HasSuffix(tt.in[:n], p)) {
				t.Errorf("opcode %d, %d bytes of payload", op, len(p))
			}
		})
	}
}

func TestMask(t *testing.T) {
	const key = 0x04030201
	for size := range 40 {
		p := bytes.Repeat([]byte{0xaa}, size)
		mask(p, key)
		for i, b := range p {
			if want := 0xaa ^ byte(i%4+1); b != want {
				t.Fatalf("%d bytes: byte %d is %#x, not %#x (RFC 6455 section 5.3)", size, i, b, want)
			}
		}
	}
	f := appendFrame(nil, opText, []byte{0, 0, 0, 0, 0}, key)
	if want := []byte{0x81, 0x85, 1, 2, 3, 4, 1, 2, 3, 4, 1}; !bytes.Equal(f, want) {
		t.Errorf("frame % x, not % x", f, want)
	}
}
