package api

import (
	"bufio"
	"io"

	"fanfare/server/api/internal/body"
	"fanfare/server/api/internal/problem"
)

// This file reads the lines of a batch, and keeps the order of their answers.

// next returns the next line, valid until dropLong or next is called, and sets ended
// after the last one. It buffers at most the limit of a line that is too long, and
// discards the rest.
func (b *batch) next() ([]byte, *problem.Problem) {
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
				return nil, problem.TooBig("the line", b.limit)
			}
			if b.long == nil {
				return part, nil
			}
			b.long = b.long.With(part)
			return b.long.B, nil
		case bufio.ErrBufferFull:
			if b.long == nil {
				b.long = body.New()
			}
			if length <= b.limit {
				b.long = b.long.With(part)
			}
		default:
			b.ended = true
			return nil, b.broken(err)
		}
	}
}

// dropLong frees a line that did not fit into the buffer.
func (b *batch) dropLong() {
	b.long.Free()
	b.long = nil
}

// broken returns the answer to a line that could not be read.
func (b *batch) broken(err error) *problem.Problem {
	switch {
	case b.interrupted.Load():
		return shuttingDown
	case body.IsTimeout(err):
		return problem.Errorf(408, "timeout", "no line was completed, and nothing arrived for %v", b.api.idle)
	}
	return body.Broken(err)
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

// late is an answer of a batch that follows others which are not there yet, because they
// wait for the store.
type late struct {
	append func(out []byte) []byte // nil: stored has the answer
	ready  chan struct{}           // closed when stored is set
	stored *storedAnswer
}

// say answers a line: at once, or after the answers that still wait.
func (b *batch) say(appendTo func([]byte) []byte) {
	if len(b.late) == 0 {
		b.out = appendTo(b.out)
		return
	}
	b.late = append(b.late, late{append: appendTo})
}

// store serves a line with a durable message. It takes the message's place in the order of
// each inbox and topic before it returns, so that their order is that of the lines.
func (b *batch) store(d *document) *problem.Problem {
	finish, p := d.begin(b.api)
	if p != nil {
		return p
	}
	l := late{ready: make(chan struct{}), stored: &storedAnswer{problem: errInternal}}
	go func() {
		defer close(l.ready)
		b.api.guard("batch", func() { *l.stored = finish() })
	}()
	b.late = append(b.late, l)
	return nil
}

// answerLate waits for the answers in b.late.
func (b *batch) answerLate() {
	for _, l := range b.late {
		if l.append != nil {
			b.out = l.append(b.out)
			continue
		}
		<-l.ready
		if p := l.stored.problem; p != nil {
			b.api.badLines.Add(1)
			b.out = p.AppendTo(b.out)
		} else {
			b.out = l.stored.appendTo(b.out)
		}
	}
	clear(b.late)
	b.late = b.late[:0]
}
