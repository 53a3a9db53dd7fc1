package frame

import (
	"encoding/binary"
	"testing"

	"github.com/gobwas/ws"
)

// Lengths around the largest MaxMessage and around the limits of 32 and 63 bits. Rejecting a length must not
// depend on the size of an int: the low 32 bits of most of these are a small length.
func TestLargeLengths(t *testing.T) {
	const gib = 1 << 30
	deflatedLimit := uint64(gib + gib/8 + 64)
	for _, tt := range []struct {
		length   uint64
		deflated bool
		code     StatusCode
	}{
		{gib - 1, false, 0},
		{gib, false, 0},
		{gib + 1, false, 1009},
		{1<<31 - 1, false, 1009},
		{1 << 31, false, 1009},
		{1 << 32, false, 1009},
		{1<<32 + 1, false, 1009},
		{1<<32 + 70000, false, 1009},
		{1<<62 + 70000, false, 1009},
		{1<<63 - 1, false, 1009},
		{1 << 63, false, 1002},
		{1<<63 + 70000, false, 1002},
		{1<<64 - 1, false, 1002},
		{deflatedLimit, true, 0},
		{deflatedLimit + 1, true, 1009},
		{1<<32 + 70000, true, 1009},
		{1<<63 - 1, true, 1009},
	} {
		b0, params := fin|byte(ws.OpBinary), Params{}
		if tt.deflated {
			b0, params = b0|rsv1, noContext
		}
		head := binary.BigEndian.AppendUint64([]byte{b0, bitMask | 127}, tt.length)
		in := append(head, 1, 2, 3, 4, 'a', 'b', 'c')
		r := &Rules{MaxMessage: gib}
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		if g := decodeFrom(t, started(params), r, in); g.code != tt.code || g.msgs != nil {
			t.Errorf("length %#x, compressed %v: %v, want close %d", tt.length, tt.deflated, g, tt.code)
		}
		// The same after a fragment of two bytes, which leave two bytes less.
		in = join(f(b0&^fin&^rsv1, ws.OpBinary, "xy"), in)
		in[8] &^= byte(ws.OpBinary) | rsv1
		if tt.deflated {
			continue
		}
		want := tt.code
		if tt.length > gib-2 && want == 0 {
			want = 1009
		}
		if g := decodeFrom(t, started(params), r, in); g.code != want || g.msgs != nil {
			t.Errorf("length %#x after 2 bytes: %v, want close %d", tt.length, g, want)
		}
	}
}
