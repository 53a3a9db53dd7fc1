package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// reference is a decoder written from the RFCs' text with no thought of speed: it
// has all the input at once and copies everything. Like the real one it fails as
// soon as the input allows it, so they must agree on every prefix.
func reference(in []byte, r *Rules, p Params) (g got) {
	var (
		message    []byte
		open       bool
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
		case opcode == 0 && !open, (opcode == 1 || opcode == 2) && open:
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
				limit += limit/8 + 64 // what is compressed may be larger than what it stands for
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
			open, op, compressed = true, opcode, rsv1
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
				history = slices.Concat(z.history, z.out[z.from:])
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
		open, message, compressed = false, nil, false
	}
	return g
}

// messageLimit is MaxMessage as Rules document it: 0 means 64 KiB.
func messageLimit(r *Rules) int {
	if r.MaxMessage == 0 {
		return 65536
	}
	return r.MaxMessage
}

// inflatedLimit is MaxRatio as Deflate documents it: for each of n bytes MaxRatio,
// or 100, may come out, beyond the first 64 KiB, which are free. fuzzRules lower
// those. MaxMessage is a limit as well.
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

// agree compares the decoder with the reference, on all of in and, if it is
// short, on each of its prefixes, byte by byte.
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

// gobwas decodes with gobwas/ws's own blocking reader.
func gobwas(in []byte, r *Rules) (msgs []string, err error) {
	src := bytes.NewReader(in)
	rd := wsutil.Reader{
		Source:         src,
		State:          ws.StateServerSide,
		CheckUTF8:      true,
		MaxMessageSize: int64(messageLimit(r)),
	}
	errClosed := errors.New("closed")
	control := func(h ws.Header, body io.Reader) error {
		p, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if int64(len(p)) < h.Length {
			return io.ErrUnexpectedEOF
		}
		if h.OpCode == ws.OpClose && len(p) > 0 {
			if len(p) == 1 {
				return ws.ErrProtocolStatusCodeNoMeaning
			}
			if err := ws.CheckCloseFrameData(ws.ParseCloseFrameData(p)); err != nil {
				return err
			}
		}
		msgs = append(msgs, describe(h.OpCode, p))
		if h.OpCode == ws.OpClose {
			return errClosed
		}
		return nil
	}
	rd.OnIntermediate = control
	for {
		h, err := rd.NextFrame()
		if err == nil && h.OpCode.IsControl() {
			if err = control(h, &rd); err == nil {
				continue
			}
		}
		if err == nil {
			var p []byte
			if p, err = io.ReadAll(&rd); err == nil {
				msgs = append(msgs, describe(h.OpCode, p))
				continue
			}
		}
		if err == errClosed {
			err = nil
		}
		return msgs, err
	}
}

// agreeWithGobwas compares what the decoder makes of its input with what gobwas
// does, up to the byte that the decoder fails at: with that byte, and with no byte
// before it, gobwas must have something to say against the input. The differences
// that are known are in gobwasAccepts and gobwasRejects.
func agreeWithGobwas(t testing.TB, in []byte, r *Rules) {
	t.Helper()
	// It counts control frames as messages.
	r = &Rules{MaxMessage: max(messageLimit(r), ws.MaxControlFramePayloadSize)}
	var d Decoder
	defer d.Release()
	var g got
	for i := range in {
		if g.feed(t, &d, r, in[i:i+1]); g.code != 0 {
			in = in[:i+1]
			break
		}
	}
	if g.code == 0 {
		msgs, err := gobwas(in, r)
		if err = realError(err); (err != nil || !slices.Equal(msgs, g.msgs)) && !gobwasRejects(g, msgs, err) {
			t.Fatalf("%x\ndecoder: %v\ngobwas:  %q, %v", in, g, msgs, err)
		}
		return
	}
	if msgs, err := gobwas(in[:len(in)-1], r); realError(err) != nil {
		t.Fatalf("%x\ndecoder: %v\ngobwas, a byte earlier: %q, %v", in, g, msgs, err)
	}
	// It looks at a header when it is there as a whole.
	last, more := lastFrame(in)
	msgs, err := gobwas(join(in, more), r)
	if (realError(err) == nil || !slices.Equal(msgs, g.msgs)) && !gobwasAccepts(g, last, msgs) {
		t.Fatalf("%x\ndecoder: %v\ngobwas:  %q, %v", in, g, msgs, err)
	}
}

// complaint returns err if it says more than that there is no more input.
func realError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// gobwasAccepts reports whether what the decoder refuses is what gobwas is known to
// take. last is the frame at whose last byte the decoder failed.
func gobwasAccepts(g got, last []byte, msgs []string) bool {
	switch g.why {
	case "length is not encoded minimally": // 5.2
		return last[1]&127 == 126 && last[2] == 0 && last[3] < 126 ||
			last[1]&127 == 127 && string(last[2:8]) == "\x00\x00\x00\x00\x00\x00"
	case "too many empty fragments": // a hundred and one of them
		return last[0]&128 == 0 && last[1]&127 == 0
	case "invalid status code in close frame": // 7.4.2: 5000 and more are of no range
		n := len(g.msgs)
		return len(msgs) == n+1 && slices.Equal(msgs[:n], g.msgs) && msgs[n] >= "close:\x13\x88"
	}
	return false
}

// gobwasRejects reports whether what the decoder takes is what gobwas is known to
// refuse: the close codes 1012 to 1014, which were registered after it was written.
func gobwasRejects(g got, msgs []string, err error) bool {
	n := len(msgs)
	return err == ws.ErrProtocolStatusCodeUnknown && len(g.msgs) == n+1 && slices.Equal(msgs, g.msgs[:n]) &&
		g.msgs[n] >= "close:\x03\xf4" && g.msgs[n] < "close:\x03\xf7"
}

// lastFrame returns the last frame of in, and what its header lacks: that makes it
// an empty frame, or a control frame that is as long as 7 bits cannot say.
func lastFrame(in []byte) (last, more []byte) {
	for {
		head := append(bytes.Clone(in[:min(len(in), maxHead)]), make([]byte, maxHead)...)
		size, n := 2, int(head[1]&127)
		if head[0]&8 != 0 && len(in) == 2 {
			copy(head[2:], "\x01\x01\x01\x01\x01\x01\x01\x01")
		}
		switch n {
		case 126:
			size, n = 4, int(binary.BigEndian.Uint16(head[2:]))
		case 127:
			size, n = 10, int(min(binary.BigEndian.Uint64(head[2:]), 1<<40))
		}
		if head[1]&128 != 0 {
			size += 4
		}
		if len(in) <= size+n {
			return in, head[min(len(in), size):size]
		}
		in = in[size+n:]
	}
}
