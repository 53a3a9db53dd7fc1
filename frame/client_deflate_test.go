package frame

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"testing"
)

// deflater is a client's compressor, the standard library's, with or without a
// context.
type deflater struct {
	buf bytes.Buffer
	w   *flate.Writer
}

func (c *deflater) message(p string, level int, context bool) string {
	c.buf.Reset()
	if c.w == nil || !context {
		c.w, _ = flate.NewWriter(&c.buf, level)
	}
	io.WriteString(c.w, p)
	c.w.Flush()
	return strings.TrimSuffix(c.buf.String(), deflateTail)
}

// bitWriter makes what no compressor does.
type bitWriter struct {
	z []byte
	b uint64
	n int
}

// put writes n bits, the lowest first (RFC 1951, 3.1.1).
func (w *bitWriter) put(v uint64, n int) {
	w.b |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.z = append(w.z, byte(w.b))
		w.b >>= 8
	}
}

// code writes a code of n bits, the highest first.
func (w *bitWriter) code(v uint64, n int) { w.put(bits.Reverse64(v)>>(64-n), n) }

// message ends a message with the header of an empty stored block.
func (w *bitWriter) message() string {
	w.put(0, 3)
	w.put(0, -w.n&7)
	return string(w.z)
}

// inflateFrame takes a server's frame apart and inflates it as a client does.
func inflateFrame(t testing.TB, b []byte) (payload string, deflated bool) {
	t.Helper()
	head := 2
	switch b[1] {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	if len(b) != head+declared(b) {
		t.Fatalf("frame %x… declares %d bytes and has %d", b[:head], declared(b), len(b)-head)
	}
	if b[0]&bitRSV1 == 0 {
		return string(b[head:]), false
	}
	out, err := io.ReadAll(flate.NewReader(strings.NewReader(string(b[head:]) + inflateTail)))
	if err != nil {
		t.Fatal(err)
	}
	return string(out), true
}

func declared(b []byte) int {
	n := int(b[1])
	switch n {
	case 126:
		n = int(b[2])<<8 | int(b[3])
	case 127:
		n = int(b[6])<<24 | int(b[7])<<16 | int(b[8])<<8 | int(b[9])
	}
	return n
}

// jsonLike returns n bytes of what a push server carries.
func jsonLike(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"type":"order.updated","price":%d.%02d,"text":"Your order is on its way ✓"},`, i*7919, i%100, i*31%100)
	}
	return strings.ToValidUTF8(b.String()[:n], "?")
}

// noise returns n bytes that do not compress.
func noise(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}
