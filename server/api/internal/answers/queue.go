package answers

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Queue. All fields are required.
type Config struct {
	Now func() time.Time
	// Stall is how long a write may make no progress before the rest is queued.
	Stall time.Duration
	// Idle is how long the client may accept nothing of what is queued.
	Idle time.Duration
	// Queued counts the bytes in all queues.
	Queued *atomic.Int64
	// Guard calls f, and recovers, logs and counts a panic in it; it reports whether f
	// returned.
	Guard func(f func()) bool
}

// ErrPanic is the error of a Queue in which sending panicked.
var ErrPanic = errors.New("answers: panic while queued answers were sent")

// Queue queues the answers to a batch that the kernel does not accept because the
// client does not read them. Meanwhile the API serves further lines: otherwise a client that
// sends everything before it reads anything would wait for the API, and the API for the
// client. The caller bounds the queue, by Len.
//
// A write that is not complete after Config.Stall starts a goroutine that sends what
// is queued, and ends when nothing is left.
type Queue struct {
	// Immutable.
	cfg  Config
	conn net.Conn

	mu      sync.Mutex
	pending []byte        // accepted by Write; guarded by mu
	size    int           // pending, and what the goroutine is sending; guarded by mu
	flushed chan struct{} // closed when the goroutine ends; nil: none runs; guarded by mu
	err     error         // of sending; guarded by mu
}

// New returns the queue of a connection.
func New(conn net.Conn, cfg Config) *Queue { return &Queue{cfg: cfg, conn: conn} }

// flushBytes are sent under one deadline.
const flushBytes = 256 << 10

// Write sends or queues p. One goroutine calls it.
func (q *Queue) Write(p []byte) (int, error) {
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
	if err := q.conn.SetWriteDeadline(q.cfg.Now().Add(q.cfg.Stall)); err != nil {
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

func (q *Queue) appendLocked(p []byte) {
	q.pending = append(q.pending, p...)
	q.size += len(p)
	q.cfg.Queued.Add(int64(len(p)))
}

// flush sends what is queued until nothing is left or sending fails.
func (q *Queue) flush() {
	for {
		q.mu.Lock()
		p := q.pending
		q.pending = nil
		if len(p) == 0 || q.err != nil {
			q.cfg.Queued.Add(-int64(q.size))
			q.size = 0
			close(q.flushed)
			q.flushed = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		err := ErrPanic // unless send returns
		q.cfg.Guard(func() { err = q.send(p) })
		q.mu.Lock()
		q.err = err
		q.mu.Unlock()
	}
}

// send returns an error if nothing could be sent for Config.Idle.
func (q *Queue) send(p []byte) error {
	for len(p) > 0 {
		q.conn.SetWriteDeadline(q.cfg.Now().Add(q.cfg.Idle))
		n, err := q.conn.Write(p[:min(len(p), flushBytes)])
		p = p[n:]
		q.cfg.Queued.Add(-int64(n))
		q.mu.Lock()
		q.size -= n
		q.mu.Unlock()
		if err != nil && (n == 0 || !isTimeout(err)) {
			return err
		}
	}
	return nil
}

// Len returns the number of bytes in the queue.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size
}

// Wait returns when the queue is empty, or sending has failed.
func (q *Queue) Wait() error {
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
