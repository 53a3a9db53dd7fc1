package frame

import (
	"bytes"
	"math"
	"sync"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// deflateTail is the end of each flushed block, which is removed from the message (RFC 7692, 7.2.1).
const deflateTail = "\x00\x00\xff\xff"

// compressor is a compressor and its output. Level 0 needs no flate.Writer.
type compressor struct {
	b []byte
	w *flate.Writer
}

func (c *compressor) Write(p []byte) (int, error) {
	c.b = growBuffer(c.b, len(p), math.MaxInt)
	c.b = append(c.b, p...)
	return len(p), nil
}

var compressorPools [10]sync.Pool // by level

func newCompressor(level int) *compressor {
	if c, ok := compressorPools[level].Get().(*compressor); ok {
		return c
	}
	c := new(compressor)
	if level > 0 {
		w, err := flate.NewWriter(c, level)
		if err != nil {
			panic("BUG: " + err.Error()) // Validate checks the level
		}
		c.w = w
	}
	return c
}

// deflateFrame returns a frame with the compressed payload, in a buffer of its exact size, or nil if the
// compressed payload is not smaller.
func deflateFrame(level int, op ws.OpCode, payload []byte) []byte {
	c := newCompressor(level)
	defer compressorPools[level].Put(c)
	c.b = newBuffer(len(payload))
	defer func() { freeBuffer(c.b); c.b = nil }()

	var err error
	if c.w == nil {
		err = flate.StatelessDeflate(c, payload, false, nil)
	} else {
		c.w.Reset(c)
		if _, err = c.w.Write(payload); err == nil {
			err = c.w.Flush()
		}
	}
	data, ok := bytes.CutSuffix(c.b, []byte(deflateTail))
	if err != nil || !ok {
		panic("BUG: flate failed to flush to memory") // Write does not fail
	}
	if len(data) >= len(payload) {
		return nil
	}
	frame := make([]byte, 0, HeaderSize(len(data))+len(data))
	frame = appendHeader(frame, bitFIN|bitRSV1|byte(op), len(data))
	return append(frame, data...)
}
