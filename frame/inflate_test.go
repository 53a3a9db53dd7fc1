package frame

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sort"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

// Compressed text fails at its first invalid byte, before the end of the frame arrives. A Huffman code ends
// within a byte of input, which is the byte at which the decoder must fail.
func TestCompressedTextFailsAtFirstInvalidByte(t *testing.T) {
	for _, level := range []int{-2, 0, 1, 9} {
		good := jsonLike(2000)
		z := new(deflater).message(good+"\xff"+good, level, false)
		in := f(rsv1, ws.OpText, z)

		// The reference tells how many bytes of input the first 2001 bytes of text take.
		at := sort.Search(len(z), func(i int) bool {
			n := naiveInflater{in: []byte(z[:i]), op: ws.OpBinary, rules: new(Rules)}
			n.run()
			return len(n.out) > len(good)
		})
		at += len(in) - len(z) - 1

		d := started(noContext)
		var g got
		for i := range in {
			if g.feed(t, &d, new(Rules), in[i:i+1]); g.code != 0 {
				if i != at {
					t.Errorf("level %d: failed at byte %d, want %d", level, i, at)
				}
				break
			}
		}
		if g.code != 1007 || g.why != faultText.Reason {
			t.Errorf("level %d: got %v, want 1007", level, g)
		}
		d.Release()
	}
}

// A bomb fails at the byte that exceeds the limit, not at its end, and owns no more memory than the limit
// allows.
func TestInflateLimitsApplyAsBytesArrive(t *testing.T) {
	withoutRace(t)
	for _, tt := range []struct {
		name  string
		rules Rules
		limit int
	}{
		{"absolute", Rules{MaxMessage: 20000}, 20000},
		{"ratio", Rules{MaxMessage: 1 << 24}, 64<<10 + 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := f(rsv1, ws.OpBinary, new(deflater).message(strings.Repeat("\x00", 1<<20), 9, false))
			d := started(noContext)
			defer d.Release()
			var g got
			for i := range in {
				g.feed(t, &d, &tt.rules, in[i:i+1])
				if g.code != 0 {
					// One byte inflates to 1030.
					if most := tt.limit/1000 + 40; i > most {
						t.Errorf("failed with byte %d, want at most %d", i, most)
					}
					break
				}
				if n := d.buffered(); n > 2*tt.limit {
					t.Fatalf("owns %d bytes", n)
				}
			}
			if g.code != 1009 {
				t.Errorf("got %v, want 1009", g)
			}
			checkCuts(t, &tt.rules, noContext, in[:200])
		})
	}
}

// An incomplete compressed message owns an inflater, in addition to its buffer, until it is complete.
func TestIncompleteCompressedMessage(t *testing.T) {
	in := deflated(ws.OpText, new(deflater).message(jsonLike(2000), 9, false))
	d := started(noContext)
	var g got
	g.feed(t, &d, new(Rules), in[:20])
	size := int(unsafe.Sizeof(inflater{}))
	if n := d.buffered(); n != size || size > 4<<10 {
		t.Errorf("owns %d bytes, want an inflater of %d, which is at most 4096", n, size)
	}
	for i := range in[20 : len(in)-1] {
		g.feed(t, &d, new(Rules), in[20+i:21+i])
	}
	if n := d.buffered(); n > size+4096 {
		t.Errorf("owns %d bytes for 2000", n)
	}
	g.feed(t, &d, new(Rules), in[len(in)-1:])
	if d.s != idleStates[0] || len(g.msgs) != 1 {
		t.Errorf("%d messages, state %+v", len(g.msgs), d.s)
	}
}

// A stored block may begin at any bit after a block with codes, and the bits that the inflater has read ahead
// belong to the stored block.
func TestStoredBlockAfterCodes(t *testing.T) {
	for short := range 20 {
		for long := range 9 {
			// A block with fixed codes of 8 and of 9 bits, first bit lowest.
			bits := "010"
			for range short {
				bits += fmt.Sprintf("%08b", 0x30+'a')
			}
			for range long {
				bits += fmt.Sprintf("%09b", 0x190+0xff-144)
			}
			bits += "0000000" + "000" // the end of the block, and the header of a stored block
			z := make([]byte, (len(bits)+7)/8)
			for i, bit := range bits {
				z[i/8] |= byte(bit-'0') << (i % 8)
			}
			body := noise(50)
			z = append(z, 50, 0, 0xff-50, 0xff)
			z = append(z, body+helloFixed...)
			in := deflated(ws.OpBinary, string(z))
			want := "binary:" + strings.Repeat("a", short) + strings.Repeat("\xff", long) + body + "Hello"
			if g := decodeFrom(t, started(noContext), new(Rules), in); g.code != 0 || g.msgs[0] != want {
				t.Errorf("%d of 8 bits, %d of 9: %v", short, long, g)
			}
		}
	}
}

func TestInflateFromAnotherCompressor(t *testing.T) {
	withoutRace(t)
	for _, level := range []int{flate.HuffmanOnly, 0, 1, 5, 9} {
		for _, n := range []int{1, 10, 300, 5000, 65000} {
			p := jsonLike(n)
			z := new(deflater).message(p, level, false)
			name := fmt.Sprintf("level %d, %d bytes", level, n)
			want := got{msgs: []string{"text:" + p}}

			whole := deflated(ws.OpText, z)
			g := decodeFrom(t, started(noContext), new(Rules), whole)
			if !g.equal(want) {
				t.Errorf("%s: close %d %s", name, g.code, g.why)
			}
			g = decodeFrom(t, started(noContext), new(Rules), whole, everyByte(whole)...)
			if !g.equal(want) {
				t.Errorf("%s, byte by byte: close %d %s", name, g.code, g.why)
			}
			fragments := join(f(rsv1, ws.OpText, z[:1]), f(0, 0, z[1:len(z)/2]), f(fin, 0, z[len(z)/2:]))
			g = decodeFrom(t, started(noContext), new(Rules), fragments)
			if !g.equal(want) {
				t.Errorf("%s, in fragments: close %d %s", name, g.code, g.why)
			}
		}
	}
}

func started(p Params) (d Decoder) { d.Start(p); return d }

// A message of MaxMessage bytes is accepted even if compression enlarges it, and one more byte is rejected
// however well it compresses.
func TestLargestMessageFitsCompressed(t *testing.T) {
	r := &Rules{MaxMessage: 10000}
	for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
		for _, p := range []string{noise(10000), strings.Repeat("a", 10000)} {
			g := decodeFrom(t, started(noContext), r, deflated(ws.OpBinary, new(deflater).message(p, level, false)))
			if g.code != 0 || len(g.msgs) != 1 || g.msgs[0] != "binary:"+p {
				t.Errorf("level %d: close %d %s", level, g.code, g.why)
			}
			g = decodeFrom(t, started(noContext), r, deflated(ws.OpBinary, new(deflater).message(p+"a", level, false)))
			if g.code != 1009 || g.msgs != nil {
				t.Errorf("level %d, one byte more: close %d %s", level, g.code, g.why)
			}
		}
	}
}

func TestInflateRatio(t *testing.T) {
	withoutRace(t)
	r := &Rules{MaxMessage: 10 << 20}
	for _, tt := range []struct {
		name  string
		n     int
		ratio int
		code  ws.StatusCode
	}{
		{"64 KiB of zeros do not count", 64 << 10, 0, 0},
		{"1 MiB of zeros exceeds 100", 1 << 20, 0, 1009},
		{"1 MiB of zeros within 2000", 1 << 20, 2000, 0},
		{"1 MiB of zeros exceeds 500", 1 << 20, 500, 1009},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := *r
			r.Deflate.MaxRatio = tt.ratio
			z := new(deflater).message(strings.Repeat("\x00", tt.n), 9, false)
			if g := decodeFrom(t, started(noContext), &r, deflated(ws.OpBinary, z)); g.code != tt.code {
				t.Errorf("close %d, want %d", g.code, tt.code)
			}
		})
	}
}

// A message of 256 KiB that inflates to 256 MiB fails before that memory is allocated.
func TestInflationBomb(t *testing.T) {
	mib := new(deflater).message(strings.Repeat("\x00", 1<<20), 9, false)
	in := deflated(ws.OpBinary, strings.Repeat(mib+deflateTail, 256))
	for _, tt := range []struct {
		name string
		r    Rules
		most uint64
	}{
		// The inflater, the compressed bytes, and twice the inflated bytes, for doubling.
		{"absolute limit", Rules{MaxMessage: 1 << 20, Deflate: Deflate{MaxRatio: 1 << 20}}, 100<<10 + 2<<18 + 3<<20},
		{"rejected at its header", Rules{}, 1 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			least := uint64(math.MaxUint64)
			for range 3 { // the runtime allocates now and then, too
				d := started(noContext)
				in := bytes.Clone(in)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				var n int
				var err error
				for len(in) > 0 && err == nil {
					_, n, err = d.Next(&tt.r, in)
					in = in[n:]
				}
				runtime.ReadMemStats(&after)
				if err == nil || err.(*CloseError).Code != 1009 {
					t.Errorf("got %v, want 1009", err)
				}
				if d.buffered() != 0 {
					t.Errorf("%d bytes are still owned", d.buffered())
				}
				d.Release()
				least = min(least, after.TotalAlloc-before.TotalAlloc)
			}
			if least > tt.most {
				t.Errorf("%d bytes were allocated, want at most %d", least, tt.most)
			}
		})
	}
}

func TestBadTextStopsInflating(t *testing.T) {
	// The first byte is not UTF-8, so the rest is not inflated, which would fail with 1009.
	z := new(deflater).message("\xff"+strings.Repeat("\x00", 1<<20), 9, false)
	if g := decodeFrom(t, started(noContext), new(Rules), deflated(ws.OpText, z)); g.code != 1007 {
		t.Errorf("got %v, want 1007", g)
	}
}

func TestContextTakeover(t *testing.T) {
	for _, bits := range []uint8{9, 12, 15} {
		p := Params{ServerBits: 15, ContextBits: bits}
		var c deflater
		var in []byte
		var want []string
		sizes := []int{100, 100, 300, 1000, 5000, 40000, 64000, 1, 100}
		if bits < 15 {
			// The standard library's window has 15 bits: keep all messages within the smaller one.
			sizes = []int{100, 100, 200}
		}
		for _, n := range sizes {
			in = append(in, deflated(ws.OpText, c.message(jsonLike(n), 5, true))...)
			want = append(want, "text:"+jsonLike(n))
		}
		d := started(p)
		var g got
		for part := range slices.Chunk(in, 1000) {
			g.feed(t, &d, new(Rules), part)
		}
		if g.code != 0 || !slices.Equal(g.msgs, want) {
			t.Errorf("%d bits: %d messages, close %d %s", bits, len(g.msgs), g.code, g.why)
		}
		if n := d.buffered(); n == 0 || n > 1<<bits {
			t.Errorf("%d bits: %d bytes between messages, want at most %d", bits, n, 1<<bits)
		}
		d.Release()
	}
}

func TestUnusedContextCostsNothing(t *testing.T) {
	d := started(withContext)
	idle := d
	var g got
	for _, b := range join(text("a"), f(0, ws.OpText, "b"), f(fin, 0, "c"), deflated(ws.OpText, "\x00")) {
		g.feed(t, &d, new(Rules), []byte{b})
	}
	if len(g.msgs) != 3 || d != idle {
		t.Errorf("%v; the decoder owns a state", g)
	}
}
