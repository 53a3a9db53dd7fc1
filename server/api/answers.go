package api

import (
	"errors"
	"net"
	"sync"
	"time"
)

// answerQueue queues the answers to a batch that the kernel does not accept because the
// client does not read them. Meanwhile the API serves further lines: otherwise a client that
// sends everything before it reads anything would wait for the API, and the API for the
// client. The queue is bounded, see batch.full.
//
// A write that is not complete after batchStall starts a goroutine that sends what
// is queued, and ends when nothing is left.
type answerQueue struct {
	api  *API
	conn net.Conn

	mu      sync.Mutex
	pending []byte        // accepted by write; guarded by mu
	size    int           // pending, and what the goroutine is sending; guarded by mu
	flushed chan struct{} // closed when the goroutine ends; nil: none runs; guarded by mu
	err     error         // of sending; guarded by mu
}

const (
	// maxAnswers bounds the answers that one batch queues, in bytes: half a million
	// pushes. maxAnswersTotal bounds those of all batches.
	maxAnswers      = 8 << 20
	maxAnswersTotal = 64 << 20
	// batchStall is how long a write may make no progress before the rest is queued.
	batchStall = 10 * time.Millisecond
	// flushBytes are sent under one deadline.
	flushBytes = 256 << 10
)

// write sends or queues p. One goroutine calls it.
func (q *answerQueue) write(p []byte) (int, error) {
	q.mu.Lock()
	queued, err := q.flushed != nil, q.err
	if queued && err == nil {
		q.appendLocked(p)
	}
	q.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if queued {
		return len(p), nil
	}
	if err := q.conn.SetWriteDeadline(q.api.now().Add(q.api.stall)); err != nil {
		return 0, err
	}
	n, err := q.conn.Write(p)
	if err == nil || !isTimeout(err) {
		return n, err
	}
	q.mu.Lock()
	q.appendLocked(p[n:])
	q.flushed = make(chan struct{})
	q.mu.Unlock()
	go q.flush()
	return len(p), nil
}

func (q *answerQueue) appendLocked(p []byte) {
	q.pending = append(q.pending, p...)
	q.size += len(p)
	q.api.answerBytes.Add(int64(len(p)))
}

// flush sends what is queued until nothing is left or sending fails.
func (q *answerQueue) flush() {
	for {
		q.mu.Lock()
		p := q.pending
		q.pending = nil
		if len(p) == 0 || q.err != nil {
			q.api.answerBytes.Add(-int64(q.size))
			q.size = 0
			close(q.flushed)
			q.flushed = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		err := errPanic // unless send returns
		q.api.guard("batch answers", func() { err = q.send(p) })
		q.mu.Lock()
		q.err = err
		q.mu.Unlock()
	}
}

// send returns an error if nothing could be sent for the API's idle time.
func (q *answerQueue) send(p []byte) error {
	for len(p) > 0 {
		q.conn.SetWriteDeadline(q.api.now().Add(q.api.idle))
		n, err := q.conn.Write(p[:min(len(p), flushBytes)])
		p = p[n:]
		q.api.answerBytes.Add(-int64(n))
		q.mu.Lock()
		q.size -= n
		q.mu.Unlock()
		if err != nil && (n == 0 || !isTimeout(err)) {
			return err
		}
	}
	return nil
}

// queued returns the number of bytes in the queue.
func (q *answerQueue) queued() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size
}

// wait returns when the queue is empty, or sending has failed.
func (q *answerQueue) wait() error {
	q.mu.Lock()
	flushed := q.flushed
	q.mu.Unlock()
	if flushed != nil {
		<-flushed
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
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
func (b *batch) store(d *document) *problem {
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
			b.out = p.appendTo(b.out)
		} else {
			b.out = l.stored.appendTo(b.out)
		}
	}
	clear(b.late)
	b.late = b.late[:0]
}
