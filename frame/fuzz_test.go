package frame

import (
	"testing"

	"github.com/gobwas/ws"
)

func fuzzRules(max uint16, context bool) (*Rules, Params) {
	r := &Rules{MaxMessage: int(max), Deflate: Deflate{MaxRatio: 20}}
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
	for _, tt := range laws {
		add(tt.in)
	}
	for _, tt := range rfc7692 {
		add(tt.in)
	}
}

// FuzzDecoder gives the decoder arbitrary bytes, cut anywhere, and compares it
// with the reference and with gobwas.
func FuzzDecoder(f *testing.F) {
	addSeeds(f, func(in []byte) {
		f.Add(in, uint16(len(in)/2), uint16(1), uint16(200), false, false)
		f.Add(in, uint16(3), uint16(len(in)/3), uint16(64), true, true)
	})
	f.Fuzz(func(t *testing.T, in []byte, cut1, cut2, max uint16, deflate, context bool) {
		compare(t, in, cut1, cut2, max, deflate, context)
	})
}

// FuzzFrames makes frames out of its input, so that more of it gets past the
// header: each begins with a byte for FIN, RSV and opcode, which is mended to
// one that can follow in seven of eight cases, and one for the length.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x01\x03abc\x80\x02de"), uint16(3), uint16(5), uint16(200), false, false)
	f.Add([]byte("\x41\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x09\x00\x41\x05\xf2\x00\x11\x00\x00"), uint16(3), uint16(5), uint16(200), true, true)
	f.Add([]byte("\x01\x02\xf0\x9d\x89\x01p\x80\x02\x84\x9e"), uint16(9), uint16(12), uint16(9), true, false)
	f.Fuzz(func(t *testing.T, script []byte, cut1, cut2, max uint16, deflate, context bool) {
		var in []byte
		open := false
		for len(script) >= 2 && len(in) < 4096 {
			b0, n := script[0], int(script[1])
			script = script[2:]
			if b0&0x30 != 0x30 {
				b0 &^= 0x30
				switch op := ws.OpCode(b0 & bitsOp); {
				case op.IsControl():
					b0 = fin | byte(ws.OpClose) + byte(op)%3
					n = min(n, 125)
				case open:
					b0 = b0 & fin
					open = b0&fin == 0
				default:
					b0 = b0&(fin|rsv1) | (1 + byte(op)&1)
					open = b0&fin == 0
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

// TestReference runs what the fuzz targets check over all of the tests' inputs.
func TestReference(t *testing.T) {
	for _, tt := range rfc6455 {
		agreeWithGobwas(t, tt.in, new(Rules))
		agree(t, tt.in, new(Rules), Params{})
		agree(t, tt.in, &Rules{MaxMessage: 3}, Params{})
		g := reference(tt.in, new(Rules), Params{})
		if g.code != tt.code {
			t.Errorf("%s: the reference says %v", tt.name, g)
		}
	}
	for _, tt := range rfc7692 {
		agree(t, tt.in, new(Rules), tt.params)
		agree(t, tt.in, &Rules{MaxMessage: 3}, tt.params)
	}
}
