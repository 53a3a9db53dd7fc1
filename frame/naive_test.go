package frame

import (
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// naiveInflater inflates a message or the beginning of one, bit by bit, by the text of RFC 1951.
type naiveInflater struct {
	in       []byte
	complete bool
	op       ws.OpCode
	rules    *Rules
	history  []byte // the end of earlier messages, nil after a new stream has begun in this one

	at    int // offset of the next bit
	out   []byte
	start int // offset in out at which the stream begins

	runes int // bytes of out that form whole runes
}

type naiveStop struct{ code ws.StatusCode } // 0: the input is incomplete

// run inflates and returns the status code of the error, or 0.
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
			z.history, z.start = nil, len(z.out)
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

// emit appends b. The limit is that of the input up to bit at.
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
		window := slices.Concat(z.history, z.out[z.start:])
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
	lengths := make([]int, 19)
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:codes] {
		lengths[i] = z.bits(3)
	}
	code := z.code(lengths)
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

// naiveCode maps the length and value of each code to its symbol.
type naiveCode map[[2]int]int

// code assigns the codes by length, then by symbol (RFC 1951, 3.2.2). The set must be complete, unless it is
// empty or a single code of one bit.
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

// symbol reads bits until they are a code, or no code begins with them.
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
