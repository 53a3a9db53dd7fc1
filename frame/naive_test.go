package frame

import (
	"compress/flate"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// naiveInflater inflates bit by bit, by the text of RFC 1951, what there is of a
// message.
type naiveInflater struct {
	in       []byte
	complete bool
	op       ws.OpCode
	rules    *Rules
	history  []byte // of earlier messages, nil when a stream has begun in this one

	at   int // bit
	out  []byte
	from int // where in out the stream begins

	runes int // bytes of out that are whole runes
}

type naiveStop struct{ code ws.StatusCode } // 0: there is no more input

// run returns the status code to fail with, or 0.
func (z *naiveInflater) run() (code ws.StatusCode) {
	peers := len(z.in)
	if peers == 0 {
		return 0
	}
	if z.complete {
		z.in = slices.Concat(z.in, []byte(peerTail))
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case naiveStop:
			if code = r.code; code == 0 && z.complete {
				code = 1007
			}
		default:
			panic(r)
		}
	}()
	for first := true; ; first = false {
		final := z.bits(1)
		if !first {
			z.history, z.from = nil, len(z.out)
		}
		for kind := z.bits(2); ; final, kind = z.bits(1), z.bits(2) {
			z.block(kind)
			if final == 1 {
				break
			}
		}
		z.align()
		if z.complete && z.at >= 8*peers {
			return 0
		}
	}
}

func (z *naiveInflater) bits(n int) (v int) {
	for i := range n {
		if z.at == 8*len(z.in) {
			panic(naiveStop{})
		}
		v |= int(z.in[z.at/8]>>(z.at%8)&1) << i
		z.at++
	}
	return v
}

func (z *naiveInflater) align() { z.at = (z.at + 7) &^ 7 }

// emit appends b, at is the bit at which the limit is looked up.
func (z *naiveInflater) emit(b byte, at int) {
	if len(z.out) >= inflatedLimit(z.rules, (at+7)/8) {
		panic(naiveStop{1009})
	}
	z.out = append(z.out, b)
	if z.op == ws.OpText {
		switch last := z.out[z.runes:]; {
		case utf8.Valid(last):
			z.runes = len(z.out)
		case !canBecomeValid(last, 3):
			panic(naiveStop{1007})
		}
	}
}

func (z *naiveInflater) block(kind int) {
	var lit, dist naiveCode
	switch kind {
	case 0:
		z.align()
		n, inverse := z.bits(16), z.bits(16)
		if n != inverse^0xffff {
			panic(naiveStop{1007})
		}
		for range n {
			at := z.at
			z.emit(byte(z.bits(8)), at)
		}
		return
	case 1:
		lit, dist = naiveFixed()
	case 2:
		lit, dist = z.lengths()
	default:
		panic(naiveStop{1007})
	}
	for {
		at := z.at
		symbol := z.symbol(lit)
		switch {
		case symbol < 256:
			z.emit(byte(symbol), at)
			continue
		case symbol == 256:
			return
		case symbol > 285:
			panic(naiveStop{1007})
		}
		length := 258
		if symbol < 285 {
			length = 3
			for s := 257; s < symbol; s++ {
				length += 1 << max(0, (s-261)/4)
			}
			length += z.bits(max(0, (symbol-261)/4))
		}
		code := z.symbol(dist)
		if code > 29 {
			panic(naiveStop{1007})
		}
		back := 1
		for c := range code {
			back += 1 << max(0, c/2-1)
		}
		back += z.bits(max(0, code/2-1))
		window := slices.Concat(z.history, z.out[z.from:])
		if back > len(window) {
			panic(naiveStop{1007})
		}
		for range length {
			window = append(window, window[len(window)-back])
			z.emit(window[len(window)-1], z.at)
		}
	}
}

var naiveFixed = sync.OnceValues(func() (lit, dist naiveCode) {
	lengths := slices.Concat(slices.Repeat([]int{8}, 144), slices.Repeat([]int{9}, 112), slices.Repeat([]int{7}, 24), slices.Repeat([]int{8}, 8))
	return new(naiveInflater).code(lengths), new(naiveInflater).code(slices.Repeat([]int{5}, 32))
})

func (z *naiveInflater) lengths() (lit, dist naiveCode) {
	literals, dists, codes := 257+z.bits(5), 1+z.bits(5), 4+z.bits(4)
	if literals > 286 || dists > 30 {
		panic(naiveStop{1007})
	}
	own := make([]int, 19)
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:codes] {
		own[i] = z.bits(3)
	}
	code := z.code(own)
	var all []int
	for len(all) < literals+dists {
		switch symbol := z.symbol(code); {
		case symbol < 16:
			all = append(all, symbol)
		case symbol == 16 && len(all) == 0:
			panic(naiveStop{1007})
		case symbol == 16:
			all = append(all, slices.Repeat(all[len(all)-1:], 3+z.bits(2))...)
		case symbol == 17:
			all = append(all, make([]int, 3+z.bits(3))...)
		default:
			all = append(all, make([]int, 11+z.bits(7))...)
		}
	}
	if len(all) > literals+dists {
		panic(naiveStop{1007})
	}
	return z.code(all[:literals]), z.code(all[literals:])
}

// naiveCode has the symbol of each code, by its length and value.
type naiveCode map[[2]int]int

// code gives out the codes by length, then by symbol (RFC 1951, 3.2.2). Each
// sequence of bits must begin one, unless there is none or only one, of one bit.
func (z *naiveInflater) code(lengths []int) naiveCode {
	codes := naiveCode{}
	next, sum := 0, 0
	for n := 1; n <= 15; n++ {
		next <<= 1
		for symbol, length := range lengths {
			if length == n {
				codes[[2]int{n, next}] = symbol
				next++
				sum += 1 << (15 - n)
			}
		}
	}
	_, one := codes[[2]int{1, 0}]
	if len(codes) > 0 && sum != 1<<15 && (len(codes) != 1 || !one) {
		panic(naiveStop{1007})
	}
	return codes
}

// symbol reads a bit after the other until they are a code, or can be none.
func (z *naiveInflater) symbol(codes naiveCode) int {
	value := 0
	for n := 1; n <= 15 && len(codes) > 1 || n <= len(codes); n++ {
		value = value<<1 | z.bits(1)
		if symbol, ok := codes[[2]int{n, value}]; ok {
			return symbol
		}
	}
	panic(naiveStop{1007})
}

// TestNaive compares the reference with the standard library's reader, so that
// two that agree are not wrong together.
func TestNaive(t *testing.T) {
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

// mutate returns the compressed form of a message, with a few bits changed.
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

// TestInflateMutations gives the decoder what comes close to being valid, which
// arbitrary bytes hardly ever do.
func TestInflateMutations(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		op := []ws.OpCode{ws.OpText, ws.OpBinary}[rnd.IntN(2)]
		r, p := fuzzRules(uint16(rnd.IntN(5000)), rnd.IntN(2) == 0)
		in := join(deflated(op, string(mutate(rnd))), deflated(op, string(mutate(rnd))))
		a := rnd.IntN(len(in))
		agree(t, in, r, p, a, a+rnd.IntN(len(in)-a))
	}
}
