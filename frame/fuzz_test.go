package frame

import (
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// fuzzRules limit messages to max bytes, and to a ratio past an eighth of that, so that short inputs exceed
// both limits.
func fuzzRules(max uint16, context bool) (*Rules, Params) {
	r := &Rules{MaxMessage: int(max), free: 1 + int(max)/8}
	r.Deflate.MaxRatio = []int{20, 3, 1, 0}[max%4]
	p := Params{ServerBits: 15}
	if context {
		r.Deflate.ContextBits, p.ContextBits = 9, 9
	}
	return r, p
}

func addSeeds(f *testing.F, add func(in []byte)) {
	for _, tt := range rfc6455 {
		if len(tt.in) < 1000 {
			add(tt.in)
		}
	}
	for _, tt := range cutInputs {
		add(tt.in)
	}
	for _, tt := range rfc7692 {
		add(tt.in)
	}
}

// FuzzDecoder compares the decoder with the reference and with gobwas on arbitrary bytes, cut anywhere.
func FuzzDecoder(f *testing.F) {
	addSeeds(f, func(in []byte) {
		f.Add(in, uint16(len(in)/2), uint16(1), uint16(200), false, false)
		f.Add(in, uint16(3), uint16(len(in)/3), uint16(64), true, true)
	})
	f.Fuzz(func(t *testing.T, in []byte, cut1, cut2, max uint16, deflate, context bool) {
		compare(t, in, cut1, cut2, max, deflate, context)
	})
}

// FuzzFrames makes frames of its input, so that more of it gets past the header. Each frame begins with a byte
// for FIN, RSV and opcode, which in three of four cases is changed to one that is valid there, and one for
// the length.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x01\x03abc\x80\x02de"), uint16(3), uint16(5), uint16(200), false, false)
	f.Add([]byte("\x41\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x09\x00\x41\x05\xf2\x00\x11\x00\x00"), uint16(3), uint16(5), uint16(200), true, true)
	f.Add([]byte("\x01\x02\xf0\x9d\x89\x01p\x80\x02\x84\x9e"), uint16(9), uint16(12), uint16(9), true, false)
	f.Fuzz(func(t *testing.T, script []byte, cut1, cut2, max uint16, deflate, context bool) {
		var in []byte
		inMessage := false
		for len(script) >= 2 && len(in) < 4096 {
			b0, n := script[0], int(script[1])
			script = script[2:]
			if b0&0x30 != 0x30 {
				b0 &^= 0x30
				switch op := ws.OpCode(b0 & bitsOp); {
				case op.IsControl():
					b0 = fin | byte(ws.OpClose) + byte(op)%3
					n = min(n, 125)
				case inMessage:
					b0 = b0 & fin
					inMessage = b0&fin == 0
				default:
					b0 = b0&(fin|rsv1) | (1 + byte(op)&1)
					inMessage = b0&fin == 0
				}
				if !deflate {
					b0 &^= rsv1
				}
			}
			n = min(n, len(script))
			in = raw(in, b0, string(script[:n]))
			script = script[n:]
		}
		compare(t, in, cut1, cut2, max, deflate, context)
	})
}

func compare(t *testing.T, in []byte, cut1, cut2, max uint16, deflate, context bool) {
	if len(in) > 8192 {
		return
	}
	r, p := fuzzRules(max, context)
	if !deflate {
		p = Params{}
	}
	a := int(cut1) % (len(in) + 1)
	b := a + int(cut2)%(len(in)-a+1)
	agree(t, in, r, p, a, b)
	if !deflate {
		agreeWithGobwas(t, in, r)
	}
}

// FuzzInflate compares the decoder with the reference on messages with arbitrary compressed bytes.
func FuzzInflate(f *testing.F) {
	for _, z := range []string{helloFixed, helloAgain, helloStored, helloFinal, helloBlocks, "", "\x00", "\x07",
		new(deflater).message(jsonLike(1000), 9, false),
		new(deflater).message(strings.Repeat("a", 3000), 9, false)} {
		f.Add([]byte(z), []byte(helloAgain), true, true, uint16(2000))
		f.Add([]byte(z), []byte(z), false, false, uint16(len(z)))
	}
	f.Fuzz(func(t *testing.T, a, b []byte, isText, keep bool, max uint16) {
		if len(a)+len(b) > 4096 {
			return
		}
		op := ws.OpBinary
		if isText {
			op = ws.OpText
		}
		r, p := fuzzRules(max, keep)
		in := join(deflated(op, string(a)), deflated(op, string(b)))
		agree(t, in, r, p, len(in)/3, len(in)/2)
	})
}

// FuzzDeflate inflates messages of this package with the standard library, and messages of the standard
// library, with and without a context, with this package. Its seeds are short, to make each step fast.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("Hello"), []byte("Hello"), uint8(0), uint8(0))
	f.Add([]byte(jsonLike(120)), []byte(jsonLike(80)), uint8(5), uint8(3))
	f.Add([]byte(noise(60)), []byte(strings.Repeat("ab", 50)), uint8(9), uint8(17))
	f.Add([]byte(""), []byte(strings.Repeat("a", 100)), uint8(1), uint8(20))
	f.Fuzz(roundTrip)
}

// TestDeflateRoundTrip does the same with long messages.
func TestDeflateRoundTrip(t *testing.T) {
	withoutRace(t)
	for level := range uint8(10) {
		roundTrip(t, []byte(jsonLike(2000)), []byte(jsonLike(300)), level, 3)
		roundTrip(t, []byte(noise(1000)), []byte(strings.Repeat("ab", 500)), level, 17)
		roundTrip(t, nil, []byte(strings.Repeat("a", 40000)), level, 200)
		roundTrip(t, []byte(noise(20000)), []byte(jsonLike(40000)), level, 100)
	}
}

// compressors are those of clients, by level.
var compressors [10]deflater

func roundTrip(t *testing.T, a, b []byte, level, cut uint8) {
	if len(a)+len(b) > 60000 {
		return
	}
	level %= 10
	r := &Rules{Deflate: Deflate{Level: int(level), MinSize: 1, ContextBits: 15}}
	for _, p := range [][]byte{a, b} {
		if got, _ := inflateFrame(t, ws.OpBinary, Prepare(ws.OpBinary, p).Deflated(r, noContext)); got != string(p) {
			t.Fatalf("level %d: %q became %q", level, p, got)
		}
	}
	message := func(p []byte, context bool) []byte {
		return deflated(ws.OpBinary, compressors[level].message(string(p), int(level), context))
	}
	want := []string{"binary:" + string(a), "binary:" + string(b), "binary:" + string(a)}
	bPlain, aPlain := message(b, false), message(a, false)
	bNext, aNext := message(b, true), message(a, true) // after a, in this order
	for _, tt := range []struct {
		params Params
		in     []byte
	}{
		{noContext, join(aPlain, bPlain, aPlain)},
		{withContext, join(aPlain, bNext, aNext)},
	} {
		g := decodeFrom(t, started(tt.params), r, tt.in, min(int(cut), len(tt.in)))
		if g.code != 0 || !slices.Equal(g.msgs, want) {
			t.Fatalf("level %d, %+v: %v", level, tt.params, g)
		}
	}
}

// TestReference compares the decoder with the references on the inputs of all tests.
func TestReference(t *testing.T) {
	withoutRace(t)
	for _, tt := range rfc6455 {
		agreeWithGobwas(t, tt.in, new(Rules))
		agree(t, tt.in, new(Rules), Params{})
		agree(t, tt.in, &Rules{MaxMessage: 3}, Params{})
		g := reference(tt.in, new(Rules), Params{})
		if g.code != tt.code {
			t.Errorf("%s: the reference returns %v", tt.name, g)
		}
	}
	for _, tt := range rfc7692 {
		agree(t, tt.in, new(Rules), tt.params)
		agree(t, tt.in, &Rules{MaxMessage: 3}, tt.params)
	}
}
