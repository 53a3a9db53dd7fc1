package frame

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// reference is a decoder that follows the text of the RFCs and is not optimized: it has all input at once and
// copies everything. Like the real decoder it fails as soon as the input allows it, so the two must agree on
// every prefix of an input.
func reference(in []byte, r *Rules, p Params) (g got) {
	var (
		message    []byte
		inMessage  bool
		op         ws.OpCode
		compressed bool
		empty      int
		history    []byte
	)
	fail := func(code ws.StatusCode) got { g.code = code; return g }
	for len(in) >= 2 {
		var (
			final   = in[0]>>7 == 1
			rsv1    = in[0]>>6&1 == 1
			rsv23   = in[0]>>4&3 != 0
			opcode  = ws.OpCode(in[0] & 15)
			masked  = in[1]>>7 == 1
			len7    = in[1] & 127
			control = opcode >= 8
		)
		switch {
		case !slices.Contains([]ws.OpCode{0, 1, 2, 8, 9, 10}, opcode):
			return fail(1002)
		case rsv23, rsv1 && (p.ServerBits == 0 || opcode != 1 && opcode != 2):
			return fail(1002)
		case !masked:
			return fail(1002)
		case control && (!final || len7 > 125):
			return fail(1002)
		case opcode == 0 && !inMessage, (opcode == 1 || opcode == 2) && inMessage:
			return fail(1002)
		}
		in = in[2:]
		length := uint64(len7)
		switch {
		case len7 == 126 && len(in) < 2 || len7 == 127 && len(in) < 8:
			return g
		case len7 == 126:
			length = uint64(binary.BigEndian.Uint16(in))
			in = in[2:]
			if length <= 125 {
				return fail(1002)
			}
		case len7 == 127:
			length = binary.BigEndian.Uint64(in)
			in = in[8:]
			if length <= 65535 || length>>63 == 1 {
				return fail(1002)
			}
		}
		if !control {
			limit := messageLimit(r)
			if opcode != 0 && rsv1 || opcode == 0 && compressed {
				limit += limit/8 + 64 // compression may enlarge a message
			}
			if uint64(len(message))+length > uint64(limit) {
				return fail(1009)
			}
		}
		if len(in) < 4 {
			return g
		}
		mask := in[:4]
		in = in[4:]
		payload := bytes.Clone(in[:min(uint64(len(in)), length)])
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		in = in[len(payload):]
		complete := uint64(len(payload)) == length

		if control {
			if !complete {
				return g
			}
			if opcode == ws.OpClose {
				switch {
				case len(payload) == 1:
					return fail(1002)
				case len(payload) > 1 && !strings.Contains(
					" 1000 1001 1002 1003 1007 1008 1009 1010 1011 1012 1013 1014 ",
					" "+strconv.Itoa(int(binary.BigEndian.Uint16(payload)))+" ") &&
					(binary.BigEndian.Uint16(payload) < 3000 || binary.BigEndian.Uint16(payload) > 4999):
					return fail(1002)
				case len(payload) > 2 && !utf8.Valid(payload[2:]):
					return fail(1007)
				}
				g.msgs = append(g.msgs, describe(opcode, payload))
				return g
			}
			g.msgs = append(g.msgs, describe(opcode, payload))
			continue
		}

		if opcode != 0 {
			inMessage, op, compressed = true, opcode, rsv1
			message, empty = nil, 0
		}
		if length == 0 && !final {
			if empty++; empty > 100 {
				return fail(1008)
			}
		}
		message = append(message, payload...)
		whole := message
		if compressed {
			z := naiveInflater{in: message, complete: complete && final, op: op, rules: r, history: history}
			code := z.run()
			if code != 0 {
				return fail(code)
			}
			if whole = z.out; complete && final && p.ContextBits != 0 {
				history = slices.Concat(z.history, z.out[z.start:])
				history = history[max(0, len(history)-1<<p.ContextBits):]
			}
		}
		if op == ws.OpText && !canBecomeValid(whole, 3) {
			return fail(1007)
		}
		if !complete {
			return g
		}
		if !final {
			continue
		}
		if op == ws.OpText && !utf8.Valid(whole) {
			return fail(1007)
		}
		g.msgs = append(g.msgs, describe(op, whole))
		inMessage, message, compressed = false, nil, false
	}
	return g
}

// messageLimit returns MaxMessage, as Rules document it: 0 means 64 KiB.
func messageLimit(r *Rules) int {
	if r.MaxMessage == 0 {
		return 65536
	}
	return r.MaxMessage
}

// inflatedLimit returns the limit that MaxRatio and MaxMessage set for n bytes of input, as Deflate documents
// it: MaxRatio, by default 100, for each byte, applied past 64 KiB, which fuzzRules lower.
func inflatedLimit(r *Rules, n int) int {
	ratio, free := r.Deflate.MaxRatio, r.free
	if ratio == 0 {
		ratio = 100
	}
	if free == 0 {
		free = 65536
	}
	limit := new(big.Int).Mul(big.NewInt(int64(n)), big.NewInt(int64(ratio)))
	if limit.Cmp(big.NewInt(int64(free))) < 0 {
		limit.SetInt64(int64(free))
	}
	if limit.Cmp(big.NewInt(int64(messageLimit(r)))) > 0 {
		return messageLimit(r)
	}
	return int(limit.Int64())
}

// agree compares the decoder with the reference on in and, if in is short, on each prefix of it.
func agree(t testing.TB, in []byte, r *Rules, p Params, cuts ...int) {
	t.Helper()
	var d Decoder
	d.Start(p)
	want := reference(in, r, p)
	g := decodeFrom(t, d, r, in)
	if g.code != want.code || !slices.Equal(g.msgs, want.msgs) {
		t.Fatalf("%x\ndecoder:   %v\nreference: %v", in, g, want)
	}
	d = Decoder{}
	d.Start(p)
	if c := decodeFrom(t, d, r, in, cuts...); !c.equal(g) {
		t.Fatalf("%x\nwhole:     %v\ncut at %v: %v", in, g, cuts, c)
	}
	if len(in) > 128 {
		return
	}
	d = Decoder{}
	d.Start(p)
	defer d.Release()
	var b got
	for i := range in {
		b.feed(t, &d, r, in[i:i+1])
		want := reference(in[:i+1], r, p)
		if b.code != want.code || !slices.Equal(b.msgs, want.msgs) {
			t.Fatalf("%x\nafter byte %d: %v\nreference:    %v", in[:i+1], i, b, want)
		}
	}
}
