package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
)

// batch is POST /v1/batch: the request's body is a stream of documents, one a line,
// and the answer's body has a line for each, in order, while the request still comes
// in. Blank lines get no answer, so a client may keep an idle stream alive with them.
//
// It is itself the answer's body, which fasthttp reads: each Read answers the lines
// that have arrived whole, and waits for more only when it has nothing to say. So
// there is no goroutine, answers go out in one write for many lines, and a client
// that reads no answers is not read from either.
type batch struct {
	// Immutable.
	api   *API
	ctx   *fasthttp.RequestCtx // valid until Close
	conn  net.Conn
	limit int // of a line, in bytes

	// Owned by the goroutine that serves the request.
	body      io.Reader
	in        *bufio.Reader
	long      *body  // a line that does not fit into in; nil: there is none
	holdsSlot bool   // a CPU slot is acquired
	waits     bool   // for other things than input, with these lines
	out       []byte // answers
	sent      int    // of out
	late      []late // answers that come behind out
	ended     bool

	interrupted atomic.Bool
}

const (
	// batchIdle bounds the wait for the next byte of a line, and for the client to
	// read answers.
	batchIdle = 2 * time.Minute
	// batchBuffer holds a few hundred short lines. Durable ones among them are
	// stored together, so it is what a round trip to the store is shared by.
	batchBuffer = 64 << 10
	// batchAnswers bounds the answers that are made before they are sent.
	batchAnswers = 32 << 10
)

func (a *API) batch(ctx *fasthttp.RequestCtx, _ names) *problem {
	if !ctx.Request.Header.IsHTTP11() {
		return problemf(505, "http_version", "a stream of answers needs HTTP/1.1")
	}
	b := &batch{
		api:   a,
		ctx:   ctx,
		conn:  ctx.Conn(),
		limit: documentLimit(a.limits.MaxPayload),
		body:  ctx.RequestBodyStream(),
	}
	if b.body == nil {
		b.body = bytes.NewReader(nil)
	}
	b.in = bufio.NewReaderSize(batchInput{b}, batchBuffer)
	if !a.begin(b) {
		return shuttingDown
	}
	ctx.SetContentType("application/x-ndjson")
	ctx.Response.ImmediateHeaderFlush = true // the first line may take its time
	ctx.SetBodyStream(b, -1)
	return nil
}

var shuttingDown = &problem{503, "shutting_down", "the server is shutting down"}

// begin notes a batch under way, so that stopAPI can end it.
func (a *API) begin(b *batch) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		return false
	}
	a.streams[b] = struct{}{}
	return true
}

// interrupt ends the batch behind the line it is at. Called by stopAPI.
func (b *batch) interrupt() {
	b.interrupted.Store(true)
	b.conn.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// Close is called by fasthttp when the answer is written, or cannot be.
func (b *batch) Close() error {
	b.dropLong()
	b.api.mu.Lock()
	delete(b.api.streams, b)
	b.api.mu.Unlock()
	return nil
}

// Read is called by fasthttp for the next part of the answer.
func (b *batch) Read(p []byte) (int, error) {
	if b.sent == len(b.out) {
		b.out, b.sent = b.out[:0], 0
		for len(b.out) == 0 && !b.ended {
			if !b.api.guard("batch", b.answer) {
				b.fail()
			}
		}
		if len(b.out) == 0 {
			return 0, io.EOF
		}
	}
	if err := b.ctx.SetWriteDeadline(time.Now().Add(b.api.idle)); err != nil {
		return 0, err
	}
	n := copy(p, b.out[b.sent:])
	b.sent += n
	return n, nil
}

// fail ends the batch after a panic in answer.
func (b *batch) fail() {
	b.release()
	clear(b.late) // their goroutines end by themselves
	b.late = b.late[:0]
	b.out = errInternal.appendTo(b.out)
	b.ended = true
}

// answer serves one line, for which it waits, and those behind it that are there
// already, while there is room for their answers. Durable messages among them are
// stored at the same time, and answered in order all the same.
func (b *batch) answer() {
	b.waits = false
	for more := true; more && len(b.out)+(len(b.late)+1)*durableSize <= batchAnswers; more = b.buffered() {
		line, p := b.next()
		if p == nil {
			p = b.serve(line)
		}
		if p != nil {
			b.say(p.appendTo)
		}
	}
	b.release()
	for _, l := range b.late {
		b.out = l.wait()(b.out)
	}
	clear(b.late)
	b.late = b.late[:0]
}

// late is an answer that may have to be waited for.
type late struct {
	ready  chan struct{} // nil: it is there
	append func([]byte) []byte
	stored *durableAnswer
}

func (l *late) wait() func([]byte) []byte {
	if l.ready == nil {
		return l.append
	}
	<-l.ready
	if l.stored.problem != nil {
		return l.stored.problem.appendTo
	}
	return l.stored.appendTo
}

// say answers a line: at once, or behind those that wait.
func (b *batch) say(appendTo func([]byte) []byte) {
	if len(b.late) == 0 {
		b.out = appendTo(b.out)
		return
	}
	b.late = append(b.late, late{append: appendTo})
}

// buffered tells whether a whole line is there.
func (b *batch) buffered() bool {
	ahead, _ := b.in.Peek(b.in.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

func (b *batch) serve(line []byte) *problem {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return nil
	}
	b.acquire(len(line))
	d := documents.Get().(*document)
	defer documents.Put(d)
	p := d.parse(line)
	b.dropLong()
	if p != nil {
		return p
	}
	if d.stored(b.api.srv) {
		b.wait() // for what is stored before it
		return b.keep(d)
	}
	if b.api.limits.Cluster != nil {
		b.wait()
	}
	n, p := d.deliver(b.api)
	if p != nil {
		return p
	}
	if len(b.late) == 0 { // without a closure: there are many of these
		b.out = appendAnswer(b.out, n)
		return nil
	}
	b.say(func(out []byte) []byte { return appendAnswer(out, n) })
	return nil
}

func appendAnswer(b []byte, d server.Delivery) []byte {
	return append(appendDelivery(append(b, '{'), d), "}\n"...)
}

// keep serves a line with a durable message. Its place among those of its users is
// taken here, and so the order of lines is theirs.
func (b *batch) keep(d *document) *problem {
	finish, p := d.begin(b.api)
	if p != nil {
		return p
	}
	l := late{ready: make(chan struct{}), stored: new(durableAnswer)}
	go func() {
		defer close(l.ready)
		if !b.api.guard("batch", func() { *l.stored = finish() }) {
			l.stored.problem = errInternal
		}
	}()
	b.late = append(b.late, l)
	return nil
}

// acquire takes a CPU slot, which the batch keeps while it finds lines that are there and
// that it need not wait for: a batch is a long body in pieces. Where lines do wait, only
// long ones take a slot, for that costs more than a short line.
func (b *batch) acquire(line int) {
	if !b.holdsSlot && (line >= stretch || !b.waits) {
		b.api.slots.acquire(line)
		b.holdsSlot = true
	}
}

func (b *batch) release() {
	if b.holdsSlot {
		b.api.slots.release()
		b.holdsSlot = false
	}
}

// wait releases the CPU slot before something that may take its time.
func (b *batch) wait() {
	b.release()
	b.waits = true
}

// dropLong drops the line that did not fit.
func (b *batch) dropLong() {
	b.long.free()
	b.long = nil
}

// next returns the next line, valid until dropLong or next is called, and sets ended behind
// the last one. A line that is too long is skipped to its end, and no more of it kept
// than the limit.
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
		switch {
		case err == nil || err == io.EOF:
			b.ended = err != nil
			if length > b.limit+1 { // one for the line feed
				return nil, tooBig("the line", b.limit)
			}
			if b.long == nil {
				return part, nil
			}
			b.long = b.long.with(part)
			return b.long.b, nil
		case err == bufio.ErrBufferFull:
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

func (b *batch) broken(err error) *problem {
	var timeout net.Error
	switch {
	case b.interrupted.Load():
		return shuttingDown
	case errors.As(err, &timeout) && timeout.Timeout():
		return problemf(408, "timeout", "no line was completed, and nothing came for %v", b.api.idle)
	}
	return brokenBody(err)
}

// batchInput reads the body, with a deadline that moves along.
type batchInput struct{ *batch }

func (b batchInput) Read(p []byte) (int, error) {
	if err := b.ctx.SetReadDeadline(time.Now().Add(b.api.idle)); err != nil {
		return 0, err
	}
	if b.interrupted.Load() { // before or behind the line above, one of both is seen
		b.conn.SetReadDeadline(longAgo)
	}
	n, err := b.body.Read(p)
	if err == io.EOF && cutOff(b.ctx) {
		err = io.ErrUnexpectedEOF // half a line is none
	}
	return n, err
}
