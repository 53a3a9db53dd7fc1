package frame

import (
	"runtime"
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

// TestInflatedGrowthIsLinear is the same for a compressed message that takes all
// that MaxRatio allows, and no more, with each of its symbols.
func TestInflatedGrowthIsLinear(t *testing.T) {
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
			in := deflated(ws.OpBinary, edgeOf50(tt.limit-100))
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
					t.Errorf("%d bytes came out", len(m.Payload))
				}
			}
			runtime.ReadMemStats(&after)
			// All of the doubled buffers together are twice the last of them.
			if n := int(after.TotalAlloc - before.TotalAlloc); n > 2*tt.limit+1<<20 {
				t.Errorf("%d bytes were allocated for a message of %d", n, tt.limit)
			}
		})
	}
}

// edgeOf50 returns a compressed message of n bytes, about: an a and, in two bytes
// each, that 100 more are like it.
func edgeOf50(n int) string {
	var z bitWriter
	z.put(0b010, 3)
	z.code(0x30+'a', 8)
	for range n / 100 {
		z.code(279-256, 7) // 99 to 114
		z.put(100-99, 4)
		z.code(0, 5) // one back
	}
	z.code(0, 7)
	return z.message()
}
