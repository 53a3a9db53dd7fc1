package frame

import (
	"strconv"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// benchDecode decodes the same bytes again and again. Next unmasks in place, so every other time the payload
// is masked: messages are binary, or text with a masking key of zeros.
func benchDecode(b *testing.B, in []byte) {
	var d Decoder
	r := new(Rules)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		rest := in
		for {
			m, n, err := d.Next(r, rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
			if m.Op == 0 && len(rest) == 0 {
				break
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.Run("binary/16", func(b *testing.B) { benchDecode(b, binmsg(strings.Repeat("x", 16))) })
	b.Run("binary/125", func(b *testing.B) { benchDecode(b, binmsg(strings.Repeat("x", 125))) })
	b.Run("binary/128", func(b *testing.B) { benchDecode(b, binmsg(strings.Repeat("x", 128))) })
	b.Run("binary/16384", func(b *testing.B) { benchDecode(b, binmsg(strings.Repeat("x", 16384))) })
	b.Run("ping/0", func(b *testing.B) { benchDecode(b, ping("")) })
	b.Run("pipelined/100x16", func(b *testing.B) {
		benchDecode(b, []byte(strings.Repeat(string(binmsg(strings.Repeat("x", 16))), 100)))
	})
}

func BenchmarkDecodeText(b *testing.B) {
	for _, n := range []int{16, 128, 16384} {
		in := textZeroMask(n)
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchDecode(b, in) })
	}
}

func textZeroMask(n int) []byte {
	in := appendHeader(nil, fin|byte(ws.OpText), n)
	in[1] |= bitMask
	in = append(in, 0, 0, 0, 0)
	return append(in, strings.Repeat("x", n)...)
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{128, 16384} {
		payload := make([]byte, n)
		b.Run("append/"+strconv.Itoa(n), func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendFrame(dst[:0], ws.OpText, payload)
			}
		})
		b.Run("prepare/"+strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				Prepare(ws.OpText, payload)
			}
		})
	}
}

func BenchmarkDeflate(b *testing.B) {
	r := new(Rules)
	for _, n := range []int{512, 16384} {
		payload := []byte(jsonLike(n))
		b.Run("out/"+strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				Prepare(ws.OpText, payload).Deflated(r, noContext)
			}
		})
		b.Run("in/"+strconv.Itoa(n), func(b *testing.B) {
			src := deflated(ws.OpText, new(deflater).message(string(payload), 5, false))
			in := make([]byte, len(src))
			d := started(noContext)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				copy(in, src)
				var m Message
				for rest := in; len(rest) > 0; {
					var k int
					var err error
					if m, k, err = d.Next(r, rest); err != nil {
						b.Fatal(err)
					}
					rest = rest[k:]
				}
				if len(m.Payload) != n {
					b.Fatal(len(m.Payload))
				}
			}
		})
	}
}

// A read that is full of the smallest frames.
func BenchmarkDecodeFragments(b *testing.B) {
	frames := string(f(0, ws.OpBinary, "x")) + strings.Repeat(string(f(0, ws.OpContinuation, "x")), 9000) + string(f(fin, ws.OpContinuation, "x"))
	benchDecode(b, []byte(frames))
}
