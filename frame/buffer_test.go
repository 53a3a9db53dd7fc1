package frame

import (
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// TestGrowthIsLinear: whatever a message is cut into, its buffer doubles, so that
// each of its bytes is copied a few times and not once for each part.
func TestGrowthIsLinear(t *testing.T) {
	const limit = 1 << 20
	part := func(n int) []byte { return f(0, ws.OpContinuation, strings.Repeat("x", n)) }
	for _, tt := range []struct {
		name  string
		first int
		rest  []byte
		read  int
	}{
		{"single bytes behind a large fragment", 900_000, slices.Repeat(part(1), 1000), 7},
		{"fragments of 300 bytes", 70_000, slices.Repeat(part(300), 3000), 308},
		{"fragments of 4 KiB, cut anywhere", 4096, slices.Repeat(part(4096), 250), 1000},
		{"single bytes up to the limit", limit - 1000, slices.Repeat(part(1), 999), 7},
		{"half control frames between fragments", 900_000, growingPings(), 3},
		{"half control frames at the limit", limit - 1, growingPings(), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Rules{MaxMessage: limit}
			var d Decoder
			defer d.Release()
			var g got
			g.feed(t, &d, r, f(0, ws.OpBinary, strings.Repeat("x", tt.first)))
			grown, now := 0, cap(d.s.buf)
			for read := range slices.Chunk(tt.rest, tt.read) {
				g.feed(t, &d, r, read)
				if n := cap(d.s.buf); n != now {
					grown, now = grown+1, n
				}
			}
			if g.code != 0 || now > limit+ws.MaxControlFramePayloadSize {
				t.Errorf("a buffer of %d bytes, close %d %s", now, g.code, g.why)
			}
			if most := 9; grown > most { // 1 MiB is 4 KiB doubled 8 times; one control frame more
				t.Errorf("the buffer grew %d times, want %d at most", grown, most)
			}
		})
	}
}

// growingPings returns a ping of each length.
func growingPings() (b []byte) {
	for n := range ws.MaxControlFramePayloadSize + 1 {
		b = append(b, ping(strings.Repeat("p", n))...)
	}
	return b
}
