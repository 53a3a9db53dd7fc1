package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

// The client's side of the protocol, for the tests.

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d} // of RFC 6455, 5.7

const (
	fin  = bitFIN
	rsv1 = bitRSV1
)

// raw appends a masked frame whose first byte is b0 and whose payload is p.
func raw(dst []byte, b0 byte, p string) []byte {
	start := len(dst)
	dst = appendHeader(dst, b0, len(p))
	dst[start+1] |= bitMask
	dst = append(dst, testMask[:]...)
	for i := range len(p) {
		dst = append(dst, p[i]^testMask[i%4])
	}
	return dst
}

// f returns a masked frame.
func f(b0 byte, op ws.OpCode, p string) []byte { return raw(nil, b0|byte(op), p) }

func text(p string) []byte   { return f(fin, ws.OpText, p) }
func binmsg(p string) []byte { return f(fin, ws.OpBinary, p) }
func ping(p string) []byte   { return f(fin, ws.OpPing, p) }

func closing(code uint16, reason string) []byte {
	return f(fin, ws.OpClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// got is the output of a decoder: descriptions of the messages, and the code and reason of the error, or 0.
type got struct {
	msgs []string
	code ws.StatusCode
	why  string
}

func (g got) equal(h got) bool {
	return g.code == h.code && g.why == h.why && slices.Equal(g.msgs, h.msgs)
}

func (g got) String() string { return fmt.Sprintf("%q, close %d %q", g.msgs, g.code, g.why) }

func opName(op ws.OpCode) string {
	switch op {
	case ws.OpText:
		return "text"
	case ws.OpBinary:
		return "binary"
	case ws.OpPing:
		return "ping"
	case ws.OpPong:
		return "pong"
	case ws.OpClose:
		return "close"
	}
	return fmt.Sprintf("op%d", op)
}

func describe(op ws.OpCode, p []byte) string { return opName(op) + ":" + string(p) }

// feed passes one read to d, as a server does.
func (g *got) feed(t testing.TB, d *Decoder, r *Rules, in []byte) {
	t.Helper()
	in = slices.Clone(in) // Next writes to it
	for {
		m, n, err := d.Next(r, in)
		if n < 0 || n > len(in) {
			t.Fatalf("Next consumed %d of %d bytes", n, len(in))
		}
		least := min(len(in), 6*(maxFrames-1))
		if d.s != nil && d.s.z != nil { // any byte may have spent the budget
			least = min(len(in), 1)
		}
		if err != nil && n != len(in) || m.Op == 0 && n < least {
			t.Fatalf("Next = %v, %v, but consumed %d of %d bytes", m, err, n, len(in))
		}
		in = in[n:]
		if err != nil {
			var ce *CloseError
			if !errors.As(err, &ce) || m.Op != 0 || m.Payload != nil {
				t.Fatalf("Next = %v, %v", m, err)
			}
			g.code, g.why = ce.Code, ce.Reason
			return
		}
		if m.Op == 0 && len(in) > 0 {
			continue
		}
		if m.Op == 0 {
			if s := d.s; s != nil && !s.shared && s.headLen == 0 && !s.inFrame && !s.inMessage && len(s.context) == 0 {
				t.Fatalf("a decoder between messages has state %+v", s)
			}
			return
		}
		g.msgs = append(g.msgs, describe(m.Op, m.Payload))
		if cap(m.Payload) != len(m.Payload) {
			t.Fatalf("append to the payload would write to the %d bytes that follow it", cap(m.Payload)-len(m.Payload))
		}
		// The caller may write to a payload that it has borrowed.
		for i := range m.Payload {
			m.Payload[i] = 0xee
		}
	}
}

// buffered returns the memory that d owns, in bytes, including its context.
func (d *Decoder) buffered() int {
	if d.s == nil {
		return 0
	}
	n := int(d.s.headLen) + cap(d.s.buf) + cap(d.s.context)
	if d.s.z != nil {
		n += int(unsafe.Sizeof(inflater{}))
	}
	return n
}

// decode feeds in to a new decoder, cut before each of the given offsets.
func decode(t testing.TB, r *Rules, in []byte, cuts ...int) got {
	t.Helper()
	return decodeFrom(t, Decoder{}, r, in, cuts...)
}

func decodeFrom(t testing.TB, d Decoder, r *Rules, in []byte, cuts ...int) got {
	t.Helper()
	var g got
	from := 0
	for _, to := range append(cuts, len(in)) {
		g.feed(t, &d, r, in[from:to])
		from = to
	}
	d.Release()
	if n := d.buffered(); n != 0 {
		t.Fatalf("%d bytes owned after Release", n)
	}
	return g
}

// everyByte cuts in into single bytes.
func everyByte(in []byte) []int {
	cuts := make([]int, len(in))
	for i := range cuts {
		cuts[i] = i
	}
	return cuts
}
