package frame

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// hostile are compressed messages that take much time: as large as one read, or inflating to the limit.
var hostile = []struct {
	name string
	op   ws.OpCode
	most int // maximum number of bytes that Next may consume; 0 means maxDeflatedPart
	make func(w *bitWriter)
}{
	{"empty blocks with few dynamic codes", ws.OpBinary, maxWork / codesWork * 12, func(w *bitWriter) {
		for len(w.z) < hostileLen {
			w.block(only(256), []uint8{0})
			w.code(0, 1)
		}
	}},
	{"empty blocks with many dynamic codes", ws.OpBinary, 0, func(w *bitWriter) {
		lit := slices.Concat(slices.Repeat([]uint8{9}, 60), slices.Repeat([]uint8{8}, 226))
		dist := slices.Concat([]uint8{4, 4}, slices.Repeat([]uint8{5}, 28))
		for len(w.z) < hostileLen {
			w.block(lit, dist)
			w.code(256-60, 8)
		}
	}},
	{"empty blocks with fixed codes", ws.OpBinary, 0, func(w *bitWriter) {
		for len(w.z) < hostileLen {
			w.put(0b010, 3)
			w.code(0, 7)
		}
	}},
	{"empty stored blocks", ws.OpBinary, 0, func(w *bitWriter) {
		for len(w.z) < hostileLen {
			w.stored("")
		}
	}},
	{"stored", ws.OpBinary, 0, func(w *bitWriter) { w.stored(noise(hostileLen)) }},
	{"literals of 1 bit", ws.OpBinary, 0, func(w *bitWriter) {
		w.block(only('a', 256), []uint8{0})
		for len(w.z) < hostileLen {
			w.code(0, 1)
		}
		w.code(1, 1)
	}},
	{"literals of 15 bits", ws.OpBinary, 0, func(w *bitWriter) {
		lit := make([]uint8, 257) // one code of each length from 1 to 15, and a second one of 15
		for i := range 15 {
			lit[i] = uint8(i + 1)
		}
		lit[256] = 15
		w.block(lit, []uint8{0})
		for len(w.z) < hostileLen {
			w.code(1<<15-2, 15)
		}
		w.code(1<<15-1, 15)
	}},
	{"lengths of 3", ws.OpBinary, 0, func(w *bitWriter) {
		lit := make([]uint8, 258)
		lit['a'], lit[256], lit[257] = 2, 2, 1
		w.block(lit, only(0))
		w.code(0b10, 2)
		for len(w.z) < hostileLen {
			w.code(0, 1+1)
		}
		w.code(0b11, 2)
	}},
	{"lengths of 258", ws.OpBinary, 0, func(w *bitWriter) {
		lit := make([]uint8, 286)
		lit['a'], lit[256], lit[285] = 2, 2, 1
		w.block(lit, only(0))
		w.code(0b10, 2)
		for range hostileOut / 258 {
			w.code(0, 1+1)
		}
		w.code(0b11, 2)
	}},
	{"lengths of 258, text", ws.OpText, 0, func(w *bitWriter) {
		lit := make([]uint8, 286)
		lit[0xc3], lit[0xa4], lit[256], lit[285] = 3, 3, 2, 1
		w.block(lit, only(1)) // distance 2
		w.code(0b111, 3)      // C3 A4, which is ä
		w.code(0b110, 3)
		for range hostileOut / 258 {
			w.code(0, 1+1)
		}
		w.code(0b10, 2)
	}},
}

const (
	hostileLen = 64<<10 - 100
	hostileOut = 1<<20 - 258
)

var hostileRules = &Rules{MaxMessage: 1 << 20, Deflate: Deflate{MaxRatio: 2000}}

// TestWorkIsBounded checks that each call of Next does a limited amount of work on any read, and that the calls
// together return the message.
func TestWorkIsBounded(t *testing.T) {
	withoutRace(t)
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			var w bitWriter
			tt.make(&w)
			z := w.message()
			want, err := inflateAll(z)
			if err != nil {
				t.Fatal(err)
			}
			most := tt.most
			if most == 0 {
				most = maxDeflatedPart
			}
			d := started(noContext)
			defer d.Release()
			var m Message
			out := 0
			for in := deflated(tt.op, z); len(in) > 0; out = len(d.s.buf) {
				var n int
				if m, n, err = d.Next(hostileRules, in); err != nil {
					t.Fatal(err)
				}
				// After the last byte of input the inflater has 63 bits, and the tail.
				if n > maxHead+most || len(d.s.buf)-out > maxWork+40*258 {
					t.Fatalf("Next inflated %d bytes from %d", len(d.s.buf)-out, n)
				}
				in = in[n:]
			}
			if m.Op != tt.op || !bytes.Equal(m.Payload, want) {
				t.Errorf("got %d bytes, want %d", len(m.Payload), len(want))
			}
		})
	}
}

// BenchmarkHostile also reports the duration of the longest call of Next. The duration of each call is the
// minimum over all runs.
func BenchmarkHostile(b *testing.B) {
	for _, tt := range hostile {
		b.Run(strings.ReplaceAll(tt.name, " ", "-"), func(b *testing.B) {
			var w bitWriter
			tt.make(&w)
			src := deflated(tt.op, w.message())
			in := make([]byte, len(src))
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				copy(in, src)
				d := started(noContext)
				for rest, call := in, 0; len(rest) > 0; call++ {
					began := time.Now()
					_, n, err := d.Next(hostileRules, rest)
					t := time.Since(began)
					if err != nil {
						b.Fatal(err)
					}
					if rest = rest[n:]; call == len(took) {
						took = append(took, t)
					}
					took[call] = min(took[call], t)
				}
				d.Release()
			}
			b.ReportMetric(float64(slices.Max(took).Nanoseconds())/1000, "µs/Next")
		})
	}
}

// only returns code lengths in which one or two symbols have codes, of 1 bit each.
func only(symbols ...int) []uint8 {
	lengths := make([]uint8, symbols[len(symbols)-1]+1)
	for _, s := range symbols {
		lengths[s] = 1
	}
	return lengths
}
