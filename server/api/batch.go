package api

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/answers"
	"fanfare/server/api/internal/body"
	"fanfare/server/api/internal/problem"
)

// batch is POST /v1/batch: the body of the request is a stream of documents, one per
// line, and the body of the answer has a line for each, in order, while the request is
// still being sent. Empty lines get no answer, so that a client can keep an idle stream
// open with them.
//
// It is itself the body of the answer, which fasthttp reads: each Read serves the lines
// that have arrived whole, and waits for more only if there is nothing to answer. So a
// batch needs no goroutine, and many answers go out in one write. Answers that the client
// does not read are queued, see answers.Queue.
type batch struct {
	// Immutable.
	api   *API
	ctx   *fasthttp.RequestCtx // valid until Close
	conn  net.Conn
	limit int // of a line, in bytes

	// Owned by the goroutine that serves the request.
	body      io.Reader
	in        *bufio.Reader
	long      *body.Body // a line that does not fit into in; nil: none
	holdsSlot bool       // a CPU slot is acquired
	waits     bool       // these lines wait for more than input
	out       []byte     // answers
	sent      int        // of out
	late      []late     // answers that follow out, some of which have to be waited for
	ended     bool
	full      bool // ended because too many answers are queued

	interrupted atomic.Bool
}

const (
	// batchIdle bounds the wait for the next byte of a line, and for the client to
	// read answers.
	batchIdle = 2 * time.Minute
	// batchBuffer holds a few hundred short lines. Durable lines in it are stored
	// together, and so share a round trip to the store.
	batchBuffer = 64 << 10
	// batchAnswers bounds the answers that are made before they are sent.
	batchAnswers = 32 << 10
	// batchStall is how long writing answers may make no progress before they are queued.
	batchStall = 10 * time.Millisecond
	// maxAnswers bounds the answers that one batch queues, in bytes: half a million
	// pushes. maxAnswersTotal bounds those of all batches.
	maxAnswers      = 8 << 20
	maxAnswersTotal = 64 << 20
	// discardBytes bounds what is read and not served, after a batch has ended because its
	// client does not read answers.
	discardBytes = 64 << 20
)

func (a *API) batch(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	if !ctx.Request.Header.IsHTTP11() {
		return problem.Errorf(505, "http_version", "a stream of answers needs HTTP/1.1")
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
	if !a.beginBatch(b) {
		return shuttingDown
	}
	if c := connOf(ctx); c != nil {
		c.answers = a.queueAnswers(c.Conn)
	}
	ctx.SetContentType(typeLines)
	ctx.SetWriteDeadline(a.now().Add(a.idle)) // from here on the queue moves it, and fasthttp does not
	ctx.Response.ImmediateHeaderFlush = true  // the first line may take its time
	ctx.SetBodyStream(b, -1)
	return nil
}

var (
	shuttingDown = problem.Errorf(503, "shutting_down", "the server is shutting down")
	errUnread    = problem.Errorf(429, "too_many_answers", "the batch has ended after this many lines, and the rest was not served: "+
		"too many answers wait to be read; read answers while sending")
)

// queueAnswers returns the queue of the answers to a batch.
func (a *API) queueAnswers(nc net.Conn) *answers.Queue {
	return answers.New(nc, answers.Config{
		Now:    a.now,
		Stall:  a.stall,
		Idle:   a.idle,
		Queued: &a.answerBytes,
		Guard:  func(f func()) bool { return a.guard("batch answers", f) },
	})
}

// beginBatch notes a batch in progress, so that Shutdown can end it.
func (a *API) beginBatch(b *batch) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping || a.leaving.Load() {
		return false
	}
	a.streams[b] = struct{}{}
	return true
}

// interrupt ends the batch after its current line. Called by Shutdown.
func (b *batch) interrupt() {
	b.interrupted.Store(true)
	b.conn.SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// Close is called by fasthttp when the answer is written, or cannot be. fasthttp has then
// written the last chunk, which is empty, through the answers.Queue, and writes the line end
// that ends the stream without it: after what is queued, and under a deadline of its own.
func (b *batch) Close() (err error) {
	b.release()
	b.dropLong()
	if c := connOf(b.ctx); c != nil && c.answers != nil {
		err = c.answers.Wait()
		c.answers = nil
		c.SetWriteDeadline(b.api.now().Add(writeTimeout))
	}
	b.api.mu.Lock()
	delete(b.api.streams, b)
	b.api.mu.Unlock()
	return err
}

// Read is called by fasthttp for the next part of the answer.
func (b *batch) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil { // not in a line, see answer
			b.api.panicked("batch", v)
			n, err = 0, errPanic
		}
	}()
	if b.sent == len(b.out) {
		b.out, b.sent = b.out[:0], 0
		for len(b.out) == 0 && !b.ended {
			b.answer()
		}
		if len(b.out) == 0 {
			return 0, b.finish()
		}
	}
	n = copy(p, b.out[b.sent:])
	b.sent += n
	return n, nil
}

// answer waits for one line, and serves it and the complete lines that follow, while there is
// room for their answers. Durable messages among them are stored at the same time, and still
// answered in order.
func (b *batch) answer() {
	defer b.recovered()
	if b.unread() {
		b.api.answersFull.Add(1)
		b.out, b.ended, b.full = errUnread.AppendTo(b.out), true, true
		return
	}
	b.waits = false
	for more := true; more && len(b.out)+(len(b.late)+1)*storedSize <= batchAnswers; more = b.buffered() {
		line, p := b.next()
		if p == nil {
			p = b.serve(line)
		}
		if p != nil {
			b.api.badLines.Add(1)
			b.say(p.AppendTo)
		}
	}
	b.release()
	b.answerLate()
}

// recovered ends the batch after a panic in answer. It must be deferred.
func (b *batch) recovered() {
	v := recover()
	if v == nil {
		return
	}
	b.api.panicked("batch", v)
	b.release()
	b.answerLate() // to lines before the one that failed
	b.out, b.ended = errInternal.AppendTo(b.out), true
}

// unread reports whether too many answers are queued for serving one more line.
func (b *batch) unread() bool {
	c := connOf(b.ctx)
	if c == nil || c.answers == nil {
		return false
	}
	n := c.answers.Len()
	return n >= b.api.answerLimit || n > 0 && b.api.answerBytes.Load() >= b.api.answerTotal
}

// finish returns io.EOF when the answers are sent, or the error that prevented it.
func (b *batch) finish() error {
	c := connOf(b.ctx)
	if c == nil || c.answers == nil {
		return io.EOF
	}
	if b.full {
		c.unread.Store(true) // the connection cannot serve another request
		c.patient.Store(true)
		// Before discard starts, so that it does not prolong what ends it below.
		b.conn.SetReadDeadline(b.api.now().Add(b.api.idle))
	}
	discarded := make(chan struct{})
	go func() {
		defer close(discarded)
		if b.full {
			b.api.guard("batch", b.discard)
		}
	}()
	err := c.answers.Wait()
	if b.full {
		b.conn.SetReadDeadline(longAgo)
	}
	<-discarded
	if err != nil {
		return err
	}
	return io.EOF
}

// discard reads what the client still sends, so that the client can begin to read answers.
// The connection of a client that sends more than discardBytes is closed.
func (b *batch) discard() {
	if n, _ := io.CopyN(io.Discard, b.body, discardBytes); n == discardBytes {
		b.conn.Close()
	}
}

// buffered reports whether a whole line has arrived.
func (b *batch) buffered() bool {
	ahead, _ := b.in.Peek(b.in.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

// serve serves a line, and answers it unless it returns a problem.
func (b *batch) serve(line []byte) *problem.Problem {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return nil
	}
	b.api.lines.Add(1)
	b.acquire(len(line))
	d := documents.Get().(*document)
	defer documents.Put(d)
	p := d.parse(line)
	b.dropLong()
	if p != nil {
		return p
	}
	if d.stored(b.api.srv) {
		b.yield() // to lines before it that are being stored
		return b.store(d)
	}
	if b.api.limits.Cluster != nil {
		b.yield()
	}
	n, p := d.deliver(b.api)
	if p != nil {
		return p
	}
	if len(b.late) == 0 { // without a closure: most lines are like this
		b.out = appendAnswer(b.out, n)
		return nil
	}
	b.say(func(out []byte) []byte { return appendAnswer(out, n) })
	return nil
}

// acquire acquires a CPU slot, which the batch holds while it serves complete lines that need
// not wait, because a batch is a long body in pieces. A line that waits for the store or the
// cluster gets a slot only if it is long: acquiring one costs more than a short line.
func (b *batch) acquire(line int) {
	if !b.holdsSlot && (line >= stretch || !b.waits) {
		b.api.slots.Acquire(line)
		b.holdsSlot = true
	}
}

func (b *batch) release() {
	if b.holdsSlot {
		b.api.slots.Release()
		b.holdsSlot = false
	}
}

// yield releases the CPU slot before an operation that may wait.
func (b *batch) yield() {
	b.release()
	b.waits = true
}
