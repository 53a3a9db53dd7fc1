package frame

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// The buffer of a message doubles, however the message is cut, so that its bytes are copied a few times and
// not once for each part.
func TestGrowthIsLinear(t *testing.T) {
	const limit = 1 << 20
	part := func(n int) []byte { return f(0, ws.OpContinuation, strings.Repeat("x", n)) }
	for _, tt := range []struct {
		name  string
		first int
		rest  []byte
		read  int
	}{
		{"single bytes after a large fragment", 900_000, slices.Repeat(part(1), 1000), 7},
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
			if most := 9; grown > most { // 8 doublings from 4 KiB to 1 MiB, and one for a control frame
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

// The same for a compressed message that stays at the limit of MaxRatio with each of its symbols.
func TestInflatedGrowthIsLinear(t *testing.T) {
	withoutRace(t)
	for _, tt := range []struct {
		name  string
		limit int
		read  int
	}{
		{"1 MiB", 1 << 20, 64 << 10},
		{"1 MiB, a symbol in each read", 1 << 20, 2},
		{"16 MiB", 16 << 20, 64 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Rules{MaxMessage: tt.limit, Deflate: Deflate{MaxRatio: 50}}
			in := deflated(ws.OpBinary, ratioOf50(tt.limit-100))
			d := started(noContext)
			defer d.Release()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for len(in) > 0 {
				read := in[:min(tt.read, len(in))]
				m, n, err := d.Next(r, read)
				if err != nil {
					t.Fatal(err)
				}
				if in = in[n:]; len(in) == 0 && len(m.Payload) < tt.limit-200 {
					t.Errorf("%d bytes after inflating", len(m.Payload))
				}
			}
			runtime.ReadMemStats(&after)
			// The buffers before the last one have as many bytes together as the last one.
			if n := int(after.TotalAlloc - before.TotalAlloc); n > 2*tt.limit+1<<20 {
				t.Errorf("%d bytes were allocated for a message of %d", n, tt.limit)
			}
		})
	}
}

// ratioOf50 returns a compressed message of about n bytes: a literal, and copies of it in lengths of 100,
// which are two bytes each.
func ratioOf50(n int) string {
	var z bitWriter
	z.put(0b010, 3)
	z.code(0x30+'a', 8)
	for range n / 100 {
		z.code(279-256, 7) // 99 to 114
		z.put(100-99, 4)
		z.code(0, 5) // distance 1
	}
	z.code(0, 7)
	return z.message()
}

// Twice the capacity may exceed an int of 32 bits.
func TestDoubled(t *testing.T) {
	for _, tt := range []struct{ n, most, want int }{
		{0, 10, 0}, {3, 10, 6}, {5, 10, 10}, {6, 10, 10}, {20, 10, 10},
		{1 << 29, math.MaxInt32, 1 << 30},
		{1 << 30, math.MaxInt32, math.MaxInt32},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32},
		{math.MaxInt, math.MaxInt, math.MaxInt},
	} {
		if got := doubled(tt.n, tt.most); got != tt.want {
			t.Errorf("doubled(%d, %d) = %d, want %d", tt.n, tt.most, got, tt.want)
		}
	}
}
