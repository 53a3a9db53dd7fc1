package frame

import (
	"bytes"
	"sync"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"
)

// deflateTail ends every flushed block of a compressor and is left out of the
// message (RFC 7692, 7.2.1).
const deflateTail = "\x00\x00\xff\xff"

// sink collects what a compressor writes. It is pooled together with one, except
// at level 0, which needs none.
type sink struct {
	b []byte
	w *flate.Writer
}

func (s *sink) Write(p []byte) (int, error) {
	s.b = growBuffer(s.b, len(p), 2*cap(s.b))
	s.b = append(s.b, p...)
	return len(p), nil
}

var sinks [10]sync.Pool // by level

func newSink(level int) *sink {
	if s, ok := sinks[level].Get().(*sink); ok {
		return s
	}
	s := new(sink)
	if level > 0 {
		w, err := flate.NewWriter(s, level)
		if err != nil {
			panic("BUG: " + err.Error()) // Validate knows the levels
		}
		s.w = w
	}
	return s
}

// deflateFrame returns a frame with payload compressed, in a buffer of its exact
// size, or nil if that is not smaller than the plain one.
func deflateFrame(level int, op ws.OpCode, payload []byte) []byte {
	s := newSink(level)
	defer sinks[level].Put(s)
	s.b = newBuffer(len(payload))
	defer func() { freeBuffer(s.b); s.b = nil }()

	var err error
	if s.w == nil {
		err = flate.StatelessDeflate(s, payload, false, nil)
	} else {
		s.w.Reset(s)
		if _, err = s.w.Write(payload); err == nil {
			err = s.w.Flush()
		}
	}
	data, ok := bytes.CutSuffix(s.b, []byte(deflateTail))
	if err != nil || !ok {
		panic("BUG: flate did not flush to memory") // Write never fails
	}
	if len(data) >= len(payload) {
		return nil
	}
	frame := make([]byte, 0, HeaderSize(len(data))+len(data))
	frame = appendHeader(frame, bitFIN|bitRSV1|byte(op), len(data))
	return append(frame, data...)
}
