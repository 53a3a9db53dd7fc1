package api

import (
	"bufio"
	"io"
)

// This file reads the lines of a batch.

// next returns the next line, valid until dropLong or next is called, and sets ended
// after the last one. It buffers at most the limit of a line that is too long, and
// discards the rest.
func (b *batch) next() ([]byte, *problem) {
	b.dropLong()
	length := 0
	for {
		if b.interrupted.Load() {
			b.ended = true
			return nil, shuttingDown
		}
		part, err := b.in.ReadSlice('\n')
		length += len(part)
		switch err {
		case nil, io.EOF:
			b.ended = err != nil
			if length > b.limit+1 { // one for the line feed
				return nil, tooBig("the line", b.limit)
			}
			if b.long == nil {
				return part, nil
			}
			b.long = b.long.with(part)
			return b.long.b, nil
		case bufio.ErrBufferFull:
			if b.long == nil {
				b.long = newBody(0)
			}
			if length <= b.limit {
				b.long = b.long.with(part)
			}
		default:
			b.ended = true
			return nil, b.broken(err)
		}
	}
}

// dropLong frees a line that did not fit into the buffer.
func (b *batch) dropLong() {
	b.long.free()
	b.long = nil
}

// broken returns the answer to a line that could not be read.
func (b *batch) broken(err error) *problem {
	switch {
	case b.interrupted.Load():
		return shuttingDown
	case isTimeout(err):
		return problemf(408, "timeout", "no line was completed, and nothing arrived for %v", b.api.idle)
	}
	return brokenBody(err)
}

// batchInput reads the body, with a deadline that moves along.
type batchInput struct{ *batch }

func (b batchInput) Read(p []byte) (int, error) {
	if err := b.ctx.SetReadDeadline(b.api.now().Add(b.api.idle)); err != nil {
		return 0, err
	}
	if b.interrupted.Load() { // before or after the line above: one of both is seen
		b.conn.SetReadDeadline(longAgo)
	}
	n, err := b.body.Read(p)
	if err == io.EOF && cutOff(b.ctx) {
		err = io.ErrUnexpectedEOF // half a line is not a line
	}
	return n, err
}
