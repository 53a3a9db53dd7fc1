package frame

import (
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// TestNaive compares the reference with the standard library, so that the reference and the decoder do not
// share a mistake.
func TestNaive(t *testing.T) {
	withoutRace(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	r := &Rules{MaxMessage: 8000, Deflate: Deflate{MaxRatio: 1000}}
	good := 0
	for range 500 {
		z := mutate(rnd)
		n := naiveInflater{in: z, complete: true, op: ws.OpBinary, rules: r}
		code := n.run()
		src := strings.NewReader(string(z) + peerTail)
		var want []byte
		var err error
		for len(z) > 0 && err == nil && len(want) <= 8000 {
			var part []byte
			part, err = io.ReadAll(io.LimitReader(flate.NewReader(src), 8001-int64(len(want))))
			want = append(want, part...)
			if src.Len() <= len(peerTail) {
				break
			}
		}
		switch {
		case len(want) > 8000:
			if code != 1009 {
				t.Errorf("%x: %d for more than 8000 bytes", z, code)
			}
		case err != nil:
			if code != 1007 {
				t.Errorf("%x: %d for %v", z, code, err)
			}
		case code != 0 || string(n.out) != string(want):
			t.Errorf("%x: %d, %q, want %q", z, code, n.out, want)
		default:
			good++
		}
	}
	if good < 50 {
		t.Errorf("only %d of 500 were valid", good)
	}
}

// mutate returns a compressed message with a few bits changed.
func mutate(rnd *rand.Rand) []byte {
	p := []string{jsonLike(1 + rnd.IntN(1000)), noise(1 + rnd.IntN(300)), strings.Repeat("ab", rnd.IntN(5000)), "Hello"}[rnd.IntN(4)]
	level := []int{flate.HuffmanOnly, 0, 1, 5, 9}[rnd.IntN(5)]
	z := new(deflater).message(p, level, false)
	if rnd.IntN(4) == 0 {
		z += deflateTail + z
	}
	b := []byte(z)
	for range rnd.IntN(4) {
		at := rnd.IntN(len(b))
		if rnd.IntN(2) == 0 { // where the codes are
			at %= min(len(b), 80)
		}
		b[at] ^= 1 << rnd.IntN(8)
	}
	if rnd.IntN(8) == 0 {
		b = b[:rnd.IntN(len(b))]
	}
	return b
}

// TestInflateMutations compares the decoder with the reference on messages that are almost valid.
func TestInflateMutations(t *testing.T) {
	withoutRace(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		op := []ws.OpCode{ws.OpText, ws.OpBinary}[rnd.IntN(2)]
		r, p := fuzzRules(uint16(rnd.IntN(5000)), rnd.IntN(2) == 0)
		in := join(deflated(op, string(mutate(rnd))), deflated(op, string(mutate(rnd))))
		a := rnd.IntN(len(in))
		agree(t, in, r, p, a, a+rnd.IntN(len(in)-a))
	}
}
