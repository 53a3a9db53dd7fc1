package frame

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

func TestInflateFromAnotherCompressor(t *testing.T) {
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

// TestLargestMessageFitsCompressed: a message of MaxMessage bytes passes however
// badly it compresses, one more does not however well.
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
	r := &Rules{MaxMessage: 10 << 20}
	for _, tt := range []struct {
		name  string
		n     int
		ratio int
		code  ws.StatusCode
	}{
		{"64 KiB of zeros are free", 64 << 10, 0, 0},
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

// TestBombEndsBeforeItsMemoryIsSpent inflates 256 MiB out of 256 KiB.
func TestBombEndsBeforeItsMemoryIsSpent(t *testing.T) {
	mib := new(deflater).message(strings.Repeat("\x00", 1<<20), 9, false)
	in := deflated(ws.OpBinary, strings.Repeat(mib+deflateTail, 256))
	for _, tt := range []struct {
		name string
		r    Rules
		most uint64
	}{
		// The decompressor, the compressed bytes in the reader's buffer and in
		// ours, and twice what is inflated, for doubling.
		{"absolute limit", Rules{MaxMessage: 1 << 20, Deflate: Deflate{MaxRatio: 1 << 20}}, 100<<10 + 2<<18 + 3<<20},
		{"refused at its header", Rules{}, 1 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			least := uint64(math.MaxUint64)
			for range 3 { // the runtime allocates as well, now and then
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
					t.Errorf("%d bytes are still held", d.buffered())
				}
				d.Release()
				least = min(least, after.TotalAlloc-before.TotalAlloc)
			}
			if least > tt.most {
				t.Errorf("%d bytes were allocated, want %d at most", least, tt.most)
			}
		})
	}
}

func TestBadTextStopsInflating(t *testing.T) {
	// The first byte is no UTF-8, so what follows is not inflated to 1009.
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
			// The standard library's window has 15 bits: stay within ours.
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
			t.Errorf("%d bits: %d bytes are held at rest, want %d at most", bits, n, 1<<bits)
		}
		d.Release()
	}
}

func TestContextCostsNothingBeforeItIsUsed(t *testing.T) {
	d := started(withContext)
	rest := d
	var g got
	for _, b := range join(text("a"), f(0, ws.OpText, "b"), f(fin, 0, "c"), deflated(ws.OpText, "\x00")) {
		g.feed(t, &d, new(Rules), []byte{b})
	}
	if len(g.msgs) != 3 || d != rest {
		t.Errorf("%v; the decoder holds a state of its own", g)
	}
}

// TestDeflated also has the headers checked, by inflateFrame.
func TestDeflated(t *testing.T) {
	for level := range 10 {
		r := &Rules{Deflate: Deflate{Level: level, MinSize: 1}}
		for _, n := range []int{1, 100, 1000, 32767, 32768, 65536, 200000} {
			for i, p := range []string{jsonLike(n), noise(n)} {
				op := []ws.OpCode{ws.OpText, ws.OpBinary}[(level+i)%2]
				pr := Prepare(op, []byte(p))
				b := pr.Deflated(r, noContext)
				got, deflated := inflateFrame(t, op, b)
				if got != p {
					t.Errorf("level %d, %d bytes: does not come back", level, n)
				}
				if want := i == 0 && n > 1; deflated != want && n != 100 { // some levels make 100 bytes smaller
					t.Errorf("level %d, %d bytes: compressed %v, want %v", level, n, deflated, want)
				}
				if len(b) > len(pr.Plain()) {
					t.Errorf("level %d, %d bytes: %d bytes compressed, %d plain", level, n, len(b), len(pr.Plain()))
				}
			}
		}
	}
}

func TestDeflatedOrPlain(t *testing.T) {
	small, large := jsonLike(255), jsonLike(1000)
	for _, tt := range []struct {
		name     string
		rules    Rules
		params   Params
		op       ws.OpCode
		payload  string
		deflated bool
	}{
		{"negotiated", Rules{}, noContext, ws.OpText, large, true},
		{"negotiated, binary", Rules{}, noContext, ws.OpBinary, large, true},
		{"negotiated, and its length has 7 bits", Rules{}, noContext, ws.OpBinary, strings.Repeat("a", 1000), true},
		{"not negotiated", Rules{}, Params{}, ws.OpText, large, false},
		{"below the minimum", Rules{}, noContext, ws.OpText, small, false},
		{"minimum lowered", Rules{Deflate: Deflate{MinSize: 200, Level: 9}}, noContext, ws.OpText, small, true},
		{"at the minimum", Rules{Deflate: Deflate{MinSize: 1000}}, noContext, ws.OpText, large, true},
		{"minimum raised", Rules{Deflate: Deflate{MinSize: 1001}}, noContext, ws.OpText, large, false},
		{"does not compress", Rules{}, noContext, ws.OpBinary, noise(1000), false},
		{"empty", Rules{Deflate: Deflate{MinSize: 1}}, noContext, ws.OpText, "", false},
		{"RFC 7692, 6.1: control frame", Rules{Deflate: Deflate{MinSize: 1}}, noContext, ws.OpPing, strings.Repeat("a", 100), false},
		{"7.1.2.1: longer than the client's window", Rules{}, Params{ServerBits: 9}, ws.OpText, large, false},
		{"7.1.2.1: as long as the client's window", Rules{}, Params{ServerBits: 10}, ws.OpText, jsonLike(1024), true},
		{"7.1.2.1: longer than any window", Rules{}, noContext, ws.OpText, jsonLike(100000), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Prepare(tt.op, []byte(tt.payload))
			payload, deflated := inflateFrame(t, tt.op, p.Deflated(&tt.rules, tt.params))
			if payload != tt.payload || deflated != tt.deflated {
				t.Errorf("compressed: %v, want %v", deflated, tt.deflated)
			}
		})
	}
}

// TestDeflatedOnce: all receivers get the same bytes in the same memory, and the
// plain frame stays what it was.
func TestDeflatedOnce(t *testing.T) {
	p := Prepare(ws.OpText, []byte(jsonLike(5000)))
	frames := make([][]byte, 100)
	var wg sync.WaitGroup
	for i := range frames {
		wg.Go(func() { frames[i] = p.Deflated(new(Rules), noContext) })
	}
	wg.Wait()
	for _, b := range frames {
		if &b[0] != &frames[0][0] || len(b) != len(frames[0]) {
			t.Fatal("compressed more than once")
		}
	}
	if got, deflated := inflateFrame(t, ws.OpText, p.Plain()); deflated || got != jsonLike(5000) {
		t.Error("the plain frame has changed")
	}
	if n := testing.AllocsPerRun(100, func() { p.Deflated(new(Rules), noContext) }); n != 0 {
		t.Errorf("%v allocations for one more receiver", n)
	}
}

func TestDeflateAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under -race")
	}
	payload := []byte(jsonLike(5000))
	for _, level := range []int{0, 1, 5} {
		r := &Rules{Deflate: Deflate{Level: level}}
		n := testing.AllocsPerRun(100, func() { Prepare(ws.OpText, payload).Deflated(r, noContext) })
		if n != 3 {
			t.Errorf("level %d: %v allocations, want the frame, its twin and what describes them", level, n)
		}
	}
	z := deflated(ws.OpText, new(deflater).message(string(payload), 5, false))
	for _, tt := range []struct {
		name  string
		reads [][]byte
	}{
		{"whole", [][]byte{z}},
		{"in two reads", [][]byte{z[:100], z[100:]}},
		{"two messages", [][]byte{join(z, z)}},
	} {
		for _, p := range []Params{noContext, withContext} {
			if n := allocs(t, new(Rules), p, tt.reads...); n != 0 {
				t.Errorf("inflating, %s, %+v: %v allocations", tt.name, p, n)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		rules Rules
		ok    bool
	}{
		{Rules{}, true},
		{Rules{MaxMessage: -1}, false},
		{Rules{MaxMessage: 1 << 30}, true},
		{Rules{MaxMessage: 1<<30 + 1}, false},
		{Rules{Deflate: Deflate{Level: 9, MinSize: 1, MaxRatio: 1, ContextBits: 15}}, true},
		{Rules{Deflate: Deflate{Level: -1}}, false},
		{Rules{Deflate: Deflate{Level: 10}}, false},
		{Rules{Deflate: Deflate{MinSize: -1}}, false},
		{Rules{Deflate: Deflate{MaxRatio: -1}}, false},
		{Rules{Deflate: Deflate{ContextBits: 8}}, false},
		{Rules{Deflate: Deflate{ContextBits: 16}}, false},
	} {
		if err := tt.rules.Validate(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.rules, err)
		}
	}
}
