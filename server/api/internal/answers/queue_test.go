package answers

import (
	"bytes"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// unguarded is the guard of a test in which nothing panics.
func unguarded(f func()) bool { f(); return true }

// pausedConn accepts writes only while it is resumed; deadlines end a wait.
type pausedConn struct {
	net.Conn
	resumed  chan struct{} // closed: writes are accepted
	deadline time.Time
	got      bytes.Buffer
	part     int // accepted of the write that waits
}

func (c *pausedConn) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *pausedConn) Write(p []byte) (int, error) {
	select {
	case <-c.resumed:
		return c.got.Write(p)
	case <-time.After(time.Until(c.deadline)):
		n := min(c.part, len(p))
		c.part -= n
		c.got.Write(p[:n])
		return n, timeoutError{}
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// Queued answers are sent in order, and once, however much of a write was accepted.
func TestQueueOrder(t *testing.T) {
	for part := range 4 { // bytes of "one "
		c := &pausedConn{resumed: make(chan struct{}), part: part}
		var total atomic.Int64
		q := New(c, Config{Now: time.Now, Stall: time.Millisecond, Idle: time.Minute, Queued: &total, Guard: unguarded})
		for _, p := range []string{"one ", "two ", "three "} {
			if n, err := q.Write([]byte(p)); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
		if q.Len() != len("one two three ")-part || total.Load() != int64(q.Len()) {
			t.Errorf("%d are queued, %d counted", q.Len(), total.Load())
		}
		close(c.resumed)
		if err := q.Wait(); err != nil {
			t.Fatal(err)
		}
		q.Write([]byte("four"))
		if got := c.got.String(); got != "one two three four" {
			t.Errorf("got %q", got)
		}
		if total.Load() != 0 {
			t.Errorf("%d bytes are still counted", total.Load())
		}
	}
}

// A peer that accepts nothing for the idle time loses the rest, and writes fail.
func TestQueueIdle(t *testing.T) {
	c := &pausedConn{resumed: make(chan struct{})}
	var total atomic.Int64
	q := New(c, Config{Now: time.Now, Stall: time.Millisecond, Idle: 2 * time.Millisecond, Queued: &total, Guard: unguarded})
	q.Write([]byte("one"))
	if err := q.Wait(); !isTimeout(err) {
		t.Errorf("got %v", err)
	}
	if _, err := q.Write([]byte("two")); !isTimeout(err) || total.Load() != 0 {
		t.Errorf("got %v, %d bytes are still counted", err, total.Load())
	}
}

// brokenConn panics when its deadline is moved.
type brokenConn struct{ net.Conn }

func (brokenConn) SetWriteDeadline(time.Time) error { panic("panic in SetWriteDeadline") }

// After a panic in the goroutine that sends, the rest is lost, and writes fail.
func TestQueueRecovers(t *testing.T) {
	var total atomic.Int64
	panics := 0
	q := New(brokenConn{}, Config{Now: time.Now, Stall: time.Millisecond, Idle: time.Minute, Queued: &total, Guard: func(f func()) (ok bool) {
		defer func() {
			if recover() != nil {
				panics++
				ok = false
			}
		}()
		f()
		return true
	}})
	q.flushed = make(chan struct{}) // as if a write had stalled
	q.Write([]byte("one"))
	q.flush()
	if err := q.Wait(); !errors.Is(err, ErrPanic) || panics != 1 || total.Load() != 0 {
		t.Errorf("got %v, %d panics, %d bytes are still counted", err, panics, total.Load())
	}
	if _, err := q.Write([]byte("two")); !errors.Is(err, ErrPanic) {
		t.Errorf("a write afterwards: %v", err)
	}
}
