package frame

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// deflater is a client's compressor, from the standard library, with or without a context.
type deflater struct {
	buf   bytes.Buffer
	w     *flate.Writer
	level int
}

func (c *deflater) message(p string, level int, context bool) string {
	c.buf.Reset()
	switch {
	case c.w == nil || c.level != level:
		c.w, _ = flate.NewWriter(&c.buf, level)
		c.level = level
	case !context:
		c.w.Reset(&c.buf)
	}
	io.WriteString(c.w, p)
	c.w.Flush()
	return strings.TrimSuffix(c.buf.String(), deflateTail)
}

// bitWriter writes deflated data that no compressor writes.
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

// block begins a block with dynamic codes of the given lengths (RFC 1951, 3.2.7).
func (w *bitWriter) block(lit, dist []uint8) {
	// Runs of 11 to 138 zeros are written as symbol 18, other lengths as themselves.
	type element struct{ symbol, more, bits int }
	var elements []element
	lengths := make([]uint8, len(codeOrder)) // of the codes of these symbols
	for all := slices.Concat(lit, dist); len(all) > 0; {
		e, n := element{int(all[0]), 0, 0}, 0
		for n < min(len(all), 138) && all[n] == 0 {
			n++
		}
		if n >= 11 {
			e = element{18, n - 11, 7}
		} else {
			n = 1
		}
		elements, all = append(elements, e), all[n:]
		lengths[e.symbol] = 1
	}
	// The codes have two lengths, the first codes one bit less, so that the set is complete.
	used := 0
	for _, n := range lengths {
		used += int(n)
	}
	long := bits.Len(uint(used - 1))
	short := 1<<long - used
	codes := map[int]uint64{}
	next := uint64(0)
	for symbol := range lengths {
		if lengths[symbol] == 0 {
			continue
		}
		lengths[symbol] = uint8(long)
		if len(codes) < short {
			lengths[symbol]--
		} else if len(codes) == short {
			next *= 2
		}
		codes[symbol] = next
		next++
	}

	w.put(0b100, 3)
	w.put(uint64(len(lit)-257), 5)
	w.put(uint64(len(dist)-1), 5)
	n := len(codeOrder)
	for lengths[codeOrder[n-1]] == 0 {
		n--
	}
	w.put(uint64(n-4), 4)
	for _, symbol := range codeOrder[:n] {
		w.put(uint64(lengths[symbol]), 3)
	}
	for _, e := range elements {
		w.code(codes[e.symbol], int(lengths[e.symbol]))
		w.put(uint64(e.more), e.bits)
	}
}

// stored writes a stored block (3.2.4).
func (w *bitWriter) stored(p string) {
	w.put(0, 3)
	w.put(0, -w.n&7)
	w.put(uint64(len(p))|uint64(len(p)^0xffff)<<16, 32)
	w.z = append(w.z, p...)
}

// message ends a message with the header of an empty stored block.
func (w *bitWriter) message() string {
	w.put(0, 3)
	w.put(0, -w.n&7)
	return string(w.z)
}

// inflateFrame decodes and inflates a server's message as a client does. The frame must be a whole message
// (RFC 6455, 5.4) with the given opcode, unmasked (5.1), with a minimal length (5.2) and without reserved
// bits, except RSV1 if it is compressed (RFC 7692, 6.1).
func inflateFrame(t testing.TB, op ws.OpCode, b []byte) (payload string, deflated bool) {
	t.Helper()
	deflated = b[0] == 0xc0|byte(op)
	if !deflated && b[0] != 0x80|byte(op) {
		t.Fatalf("a frame of %s begins with %08b", opName(op), b[0])
	}
	head, n := 2, int(b[1])
	switch {
	case n < 126:
	case n == 126:
		head, n = 4, int(b[2])<<8|int(b[3])
		if n < 126 {
			t.Fatalf("%d bytes have a length of 16 bits", n)
		}
	case n == 127:
		head, n = 10, int(b[6])<<24|int(b[7])<<16|int(b[8])<<8|int(b[9])
		if n < 1<<16 || string(b[2:6]) != "\x00\x00\x00\x00" {
			t.Fatalf("%d bytes have a length of 64 bits, %x", n, b[2:10])
		}
	default:
		t.Fatal("a server's frame is masked")
	}
	if len(b) != head+n {
		t.Fatalf("frame %x… declares %d bytes and has %d", b[:head], n, len(b)-head)
	}
	if !deflated {
		return string(b[head:]), false
	}
	out, err := inflateAll(string(b[head:]))
	if err != nil {
		t.Fatal(err)
	}
	return string(out), true
}

// peerTail ends a message (RFC 7692, 7.2.2), and then the stream.
const peerTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflateAll inflates a message with the standard library.
func inflateAll(z string) ([]byte, error) {
	src := strings.NewReader(z + peerTail)
	r, ok := inflateReaders.Get().(io.ReadCloser)
	if ok {
		r.(flate.Resetter).Reset(src, nil)
	} else {
		r = flate.NewReader(src)
	}
	defer inflateReaders.Put(r)
	return io.ReadAll(r)
}

var inflateReaders sync.Pool // 40 KiB each

// jsonLike returns n bytes that resemble the messages of a push server.
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
